package fsmount_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func (c *caller) mapBlob() error {
	return c.withBlob(unix.O_RDONLY, func(fd int) error {
		for _, flags := range []int{unix.MAP_SHARED, unix.MAP_PRIVATE} {
			p, err := unix.Mmap(fd, 0, len(c.content), unix.PROT_READ, flags)
			if err != nil {
				return err
			}
			if err := errors.Join(same(p, c.content), unix.Munmap(p)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *caller) mapBlobForWriting() error {
	return c.withBlob(unix.O_RDONLY, func(fd int) error {
		_, err := unix.Mmap(fd, 0, len(c.content), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err := want(err, unix.EACCES); err != nil {
			return err
		}
		p, err := unix.Mmap(fd, 0, len(c.content), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
		if err != nil {
			return err
		}
		p[0] ^= 1
		if err := unix.Munmap(p); err != nil {
			return err
		}
		got, err := os.ReadFile(filepath.Join(c.repo, c.blob))
		return errors.Join(err, same(got, c.content))
	})
}

// What is written to a blob's name bypasses the pages that readers share.
func (c *caller) mapRepush() error {
	return c.withBlob(unix.O_RDWR, func(fd int) error {
		if _, err := unix.Write(fd, c.content); err != nil {
			return err
		}
		_, err := unix.Mmap(fd, 0, len(c.content), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		return want(err, unix.ENODEV)
	})
}

func (c *caller) mapNew() error {
	content := bytes.Repeat([]byte("mapped"), 20_000)
	err := c.with("_blobs/mapped", unix.O_RDWR|unix.O_CREAT, func(fd int) error {
		if err := unix.Ftruncate(fd, int64(len(content))); err != nil {
			return err
		}
		p, err := unix.Mmap(fd, 0, len(content), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return err
		}
		copy(p, content)
		return errors.Join(unix.Msync(p, unix.MS_SYNC), unix.Munmap(p))
	})
	return errors.Join(err, c.published("mapped", content))
}

// A file is published when it is closed, and again with what was written to a
// map of it after that, once that is gone.
func (c *caller) mapOutlives() error {
	content := bytes.Repeat([]byte("outlives"), 5_000)
	fd, err := c.open("_blobs/outlives", unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return err
	}
	if err := write(fd, content, 0); err != nil {
		return err
	}
	p, err := unix.Mmap(fd, 0, len(content), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	if err := unix.Close(fd); err != nil {
		return err
	}
	p[0] = 'O'
	content[0] = 'O'
	if err := errors.Join(unix.Msync(p, unix.MS_SYNC), unix.Munmap(p)); err != nil {
		return err
	}
	return eventually(func() error { return c.published("outlives", content) })
}

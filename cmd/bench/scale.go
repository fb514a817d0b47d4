package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// namespaces is how many directories a store of many repositories has at its
// top. It is the same however many there are, so that listing the root is the
// same work.
const namespaces = 10

// street is a store of n repositories, each with a tag v1, which it makes the
// first time: namespace<i>/repo<j>.
func (b *bench) street(n int) (layout, error) {
	l := layout{filepath.Join(b.fast, fmt.Sprintf("street%d", n))}
	if b.streets[n] {
		return l, nil
	}
	begun := time.Now()
	if err := l.fresh(); err != nil {
		return l, err
	}
	for i := range n {
		repo := fmt.Sprintf("namespace%d/repo%d", i%namespaces, i/namespaces)
		sum, err := l.image(repo, 0)
		if err != nil {
			return l, err
		}
		if err := l.tag(repo, "v1", sum); err != nil {
			return l, err
		}
	}
	say("%d repositories took %.1f s", n, time.Since(begun).Seconds())
	b.streets[n] = true
	return l, nil
}

// measureScale is row 10.
func measureScale(ctx context.Context, b *bench) ([]line, error) {
	many, err := b.street(b.sizes.repos)
	if err != nil {
		return nil, err
	}
	few, err := b.street(namespaces)
	if err != nil {
		return nil, err
	}
	var lines []line
	for _, part := range []struct {
		name string
		work func(context.Context) error
	}{
		{"ls of the root", b.doing("ls", b.mnt)},
		{"cat of a tag", b.doing("cat", filepath.Join(b.mnt, "namespace7/repo0/_tags/v1"))},
		{"mount until ready", nil},
	} {
		turn := func(l layout) contender {
			c := contender{name: fmt.Sprintf("%s, %s", part.name, filepath.Base(l.store)), prepare: b.remounting(l.store), work: part.work}
			if part.work == nil {
				c.prepare, c.work = b.unmount, b.remounting(l.store)
			}
			return c
		}
		t, err := b.contestOf(ctx, scaleRounds*b.sizes.rounds, "10", turn(few), turn(many))
		if err != nil {
			return nil, err
		}
		lines = append(lines, ratio("10", fmt.Sprintf("%s, cold, in a store of %d repositories", part.name, b.sizes.repos),
			fmt.Sprintf("in a store of %d", namespaces), t[turn(many).name], t[turn(few).name], 1.5))
	}
	return lines, nil
}

// scaleRounds is how many more rounds than others row 10 has: its times are
// short.
const scaleRounds = 3

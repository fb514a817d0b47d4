package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// address is that of the stock registry, in a network namespace that nobody
// else is in.
const address = "127.0.0.1:5000"

// base is the address of a repository in the stock registry.
func base(repo string) string { return "http://" + address + "/v2/" + repo }

// registryConfig is that of the stock registry's own package, but for the
// directory, and for what it would write or call elsewhere.
const registryConfig = `
version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: %s
http:
  addr: %s
`

// stock is a stock registry that serves a store.
type stock struct {
	cmd   *exec.Cmd
	log   tail
	ended chan struct{}
}

// serve starts a stock registry and returns once it answers.
func (b *bench) serve(ctx context.Context, store string) (*stock, error) {
	config := filepath.Join(b.scratch, "registry.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, registryConfig, store, address), 0o644); err != nil {
		return nil, err
	}
	s := &stock{ended: make(chan struct{})}
	s.cmd = exec.Command(b.registry, "serve", config)
	s.cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.ended)
		_ = s.cmd.Wait()
	}()
	for {
		resp, err := http.Get("http://" + address + "/v2/")
		if err == nil {
			http.DefaultClient.CloseIdleConnections()
			return s, resp.Body.Close()
		}
		select {
		case <-s.ended:
			return nil, fmt.Errorf("the stock registry does not start: %s", s.log.String())
		case <-ctx.Done():
			_ = s.cmd.Process.Kill()
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *stock) stop() {
	_ = s.cmd.Process.Kill()
	<-s.ended
}

// curlGet is the configuration of a curl that gets addresses one after the
// other on one connection and drops what it gets.
func curlGet(urls []string, options ...string) string {
	return curlConfig(len(urls), func(w *strings.Builder, i int) {
		fmt.Fprintf(w, "url = %q\noutput = \"/dev/null\"\n%s", urls[i], strings.Join(options, ""))
	})
}

// curlConfig is the configuration of a curl for n transfers. It sends no
// progress and fails on a status of 400 or more.
func curlConfig(n int, transfer func(w *strings.Builder, i int)) string {
	var w strings.Builder
	for i := range n {
		if i > 0 {
			w.WriteString("next\n")
		}
		w.WriteString("silent\nshow-error\nfail\n")
		transfer(&w, i)
	}
	return w.String()
}

// curl runs a curl with each configuration, at the same time, and returns what
// each prints.
func (b *bench) curl(ctx context.Context, configs []string) ([]string, error) {
	printed := make([]string, len(configs))
	err := atOnce(len(configs), func(i int) error {
		name := filepath.Join(b.scratch, fmt.Sprintf("curl%d", i))
		if err := os.WriteFile(name, []byte(configs[i]), 0o644); err != nil {
			return err
		}
		var err error
		printed[i], err = b.output(ctx, "curl", "--config", name)
		return err
	})
	return printed, err
}

// curlUploads puts files as blobs, each list on a connection of its own: first
// a POST for each, then a PUT. Their digests are their base names.
func (b *bench) curlUploads(ctx context.Context, repo string, lists [][]string) error {
	begin := make([]string, len(lists))
	for i, files := range lists {
		begin[i] = curlConfig(len(files), func(w *strings.Builder, _ int) {
			fmt.Fprintf(w, "request = POST\nurl = \"%s/blobs/uploads/\"\noutput = \"/dev/null\"\nwrite-out = \"%%header{location}\\n\"\n", base(repo))
		})
	}
	locations, err := b.curl(ctx, begin)
	if err != nil {
		return err
	}
	put := make([]string, len(lists))
	for i, files := range lists {
		at := strings.Fields(locations[i])
		if len(at) != len(files) {
			return errors.New("the stock registry did not answer each POST with a location")
		}
		put[i] = curlConfig(len(files), func(w *strings.Builder, j int) {
			fmt.Fprintf(w, "upload-file = %q\nurl = \"%s&digest=sha256:%s\"\noutput = \"/dev/null\"\nheader = \"Content-Type: application/octet-stream\"\n",
				files[j], at[j], filepath.Base(files[j]))
		})
	}
	_, err = b.curl(ctx, put)
	return err
}

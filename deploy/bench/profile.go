package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// profileAddr is where a server with profile.go.txt in it tells where its time goes.
const profileAddr = "127.0.0.1:16060"

// profiled fetches a CPU profile of the server while something runs, when profiles are wanted. The channel is closed
// when it is written.
func (b *bench) profiled(ctx context.Context, name string, span time.Duration) <-chan struct{} {
	done := make(chan struct{})
	if b.profile == "" {
		close(done)
		return done
	}
	go func() {
		defer close(done)
		if err := b.fetchProfile(ctx, name, span); err != nil {
			b.table.note("no profile: %v", err)
		}
	}()
	return done
}

func (b *bench) fetchProfile(ctx context.Context, name string, span time.Duration) error {
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", profileAddr, int(span.Seconds()))
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	f, err := os.Create(filepath.Join(b.profile, name+".pprof"))
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(f, resp.Body)
	return err
}

package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"patchbay/channels"
)

// soundSubject answers for bytes on that node's disk (want -> got).
func soundSubject(nodeID string) string { return "recordings." + channels.Token(nodeID) }

// pieceSize is what one message of the bus carries: 1 MB is its limit, and JSON makes 4 bytes of 3.
const pieceSize = 256 << 10

type want struct {
	Place string `json:"place"`
	From  int64  `json:"from"`
	Bytes int64  `json:"bytes"`
}

type got struct {
	Data []byte `json:"data"`
	Gone bool   `json:"gone,omitempty"`
}

// Sound reads n bytes of a recording's file from an offset on. The reader goes on after ctx has ended its request's
// handler: it is closed by who reads it. Errors are in words.
func (a *Archive) Sound(ctx context.Context, id, from, n int64) (io.ReadCloser, error) {
	list, err := a.find(ctx, `r.id = $1 and r.state in ('done', 'recovered')`, id)
	if err != nil {
		return nil, wrap("find recording", err)
	}
	if len(list) == 0 {
		return nil, channels.Fail(channels.NotFound, "This recording cannot be played.")
	}
	k := list[0]
	path, err := a.path(k.Place)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	switch {
	case err == nil:
		return section{io.NewSectionReader(f, from, n), f}, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	out := context.WithoutCancel(ctx)
	switch {
	case k.NodeID == nil && a.store == nil:
		return nil, channels.Fail(channels.Unavailable, "The recording lies in an object store that this server no longer knows.")
	case k.NodeID == nil:
		body, err := a.store.get(out, k.Place, from, n)
		if err != nil {
			a.log.Error("recording not read", "recording", id, "err", err)
			return nil, channels.Fail(channels.Unavailable, "The recordings' store does not answer. Try again in a moment.")
		}
		return body, nil
	case *k.NodeID == a.cfg.NodeID:
		return nil, channels.Fail(channels.NotFound, "The recording's file is gone.")
	}
	r := &remote{a: a, ctx: out, node: *k.NodeID, place: k.Place, at: from, end: from + n}
	if err := r.fetch(ctx); err != nil {
		a.log.Error("recording not read", "recording", id, "node", k.Name, "err", err)
		return nil, channels.Fail(channels.Unavailable, "The recording lies on the server "+k.Name+", which does not answer.")
	}
	return r, nil
}

type section struct {
	io.Reader
	io.Closer
}

// remote reads a file on another node's disk.
type remote struct {
	a           *Archive
	ctx         context.Context
	node, place string
	at, end     int64
	piece       bytes.Reader
}

// fetch asks for the next piece.
func (r *remote) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	var answer got
	if err := r.a.cfg.Bus.Request(ctx, soundSubject(r.node), want{r.place, r.at, min(r.end-r.at, pieceSize)}, &answer); err != nil {
		return err
	}
	if answer.Gone || len(answer.Data) == 0 {
		return fs.ErrNotExist
	}
	r.at += int64(len(answer.Data))
	r.piece.Reset(answer.Data)
	return nil
}

func (r *remote) Read(b []byte) (int, error) {
	if r.piece.Len() == 0 {
		if r.at >= r.end {
			return 0, io.EOF
		}
		if err := r.fetch(r.ctx); err != nil {
			return 0, fmt.Errorf("read from node: %w", err)
		}
	}
	return r.piece.Read(b)
}

func (r *remote) Close() error { return nil }

// piece answers another node.
func (a *Archive) piece(data []byte) (any, error) {
	var w want
	if err := json.Unmarshal(data, &w); err != nil {
		return nil, err
	}
	path, err := a.path(w.Place)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return got{Gone: true}, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, w.From, min(max(w.Bytes, 0), pieceSize)))
	return got{Data: b}, err
}

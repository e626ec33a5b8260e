package archive

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3 is an object store.
type S3 struct {
	Endpoint    string // https://s3.eu-central-1.amazonaws.com
	Bucket      string // exists
	Region      string // "": asked
	Key, Secret string
}

// store is the bucket.
type store struct {
	client *minio.Client
	core   minio.Core
	bucket string
}

func openStore(cfg S3) (*store, error) {
	at, err := url.Parse(cfg.Endpoint)
	if err != nil || at.Host == "" {
		return nil, fmt.Errorf("archive: S3 endpoint %q: an address like https://s3.example.com was expected", cfg.Endpoint)
	}
	client, err := minio.New(at.Host, &minio.Options{Creds: credentials.NewStaticV4(cfg.Key, cfg.Secret, ""), Secure: at.Scheme == "https", Region: cfg.Region})
	if err != nil {
		return nil, fmt.Errorf("archive: S3: %w", err)
	}
	return &store{client: client, core: minio.Core{Client: client}, bucket: cfg.Bucket}, nil
}

// uploadTime is the least time that one upload may take; a slow line gets more by its size.
const (
	uploadTime = time.Minute
	slowest    = 50_000 // bytes a second
)

// put stores a file and proves that the store holds those bytes: by the checksum that the store has computed, or, where it
// computes none, by reading them back.
func (s *store) put(ctx context.Context, key, path string, sum []byte) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, uploadTime+time.Duration(info.Size()/slowest)*time.Second)
	defer cancel()
	// Without a content hash the body goes as it is: in signed pieces (aws-chunked) it is what some stores keep (s3rver
	// 3.7.1). The checksum in the signed headers says what the body must be.
	_, err = s.client.PutObject(ctx, s.bucket, key, f, info.Size(), minio.PutObjectOptions{ContentType: "audio/wav", DisableMultipart: true, DisableContentSha256: true,
		UserMetadata: map[string]string{"X-Amz-Checksum-Sha256": base64.StdEncoding.EncodeToString(sum), "Sha256": hex.EncodeToString(sum)}})
	if err != nil {
		return fmt.Errorf("put: %w", err)
	}
	about, err := s.client.StatObject(ctx, s.bucket, key, minio.StatObjectOptions{Checksum: true})
	if err != nil {
		return fmt.Errorf("look at it there: %w", err)
	}
	if about.Size == info.Size() && about.ChecksumSHA256 == base64.StdEncoding.EncodeToString(sum) {
		return nil
	}
	back, err := s.get(ctx, key, 0, info.Size())
	if err != nil {
		return err
	}
	defer back.Close()
	h := sha256.New()
	if _, err := io.Copy(h, back); err != nil {
		return fmt.Errorf("read it back: %w", err)
	}
	if got := h.Sum(nil); string(got) != string(sum) {
		return fmt.Errorf("the store holds other bytes: checksum %x, want %x", got, sum)
	}
	return nil
}

// get reads n bytes from an offset on.
func (s *store) get(ctx context.Context, key string, from, n int64) (io.ReadCloser, error) {
	var opts minio.GetObjectOptions
	if err := opts.SetRange(from, from+n-1); err != nil {
		return nil, err
	}
	body, _, _, err := s.core.GetObject(ctx, s.bucket, key, opts)
	if err != nil {
		return nil, fmt.Errorf("read from S3: %w", err)
	}
	return body, nil
}

// remove deletes an object; one that is not there is deleted.
func (s *store) remove(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, uploadTime)
	defer cancel()
	if err := s.client.RemoveObject(ctx, s.bucket, key, minio.RemoveObjectOptions{}); err != nil && minio.ToErrorResponse(err).Code != "NoSuchKey" {
		return fmt.Errorf("remove from S3: %w", err)
	}
	return nil
}

// upload is one round: every finished recording on this disk, one after the other. The first failure ends it, for the
// next would fail as well.
func (a *Archive) upload(ctx context.Context) error {
	for {
		waiting, err := a.find(ctx, `r.state in ('done', 'recovered') and r.node_id = $1`, a.cfg.NodeID)
		if err != nil {
			return err
		}
		for _, k := range waiting {
			if err := a.uploadOne(ctx, k); err != nil {
				return fmt.Errorf("recording %d: %w", k.ID, err)
			}
		}
		if len(waiting) < most {
			return nil
		}
	}
}

func (a *Archive) uploadOne(ctx context.Context, k kept) error {
	path, err := a.path(k.Place)
	if err != nil {
		return err
	}
	var sum []byte
	if err := a.cfg.Pool.QueryRow(ctx, `select sha256 from recordings where id = $1`, k.ID).Scan(&sum); err != nil {
		return err
	}
	if err := a.store.put(ctx, k.Place, path, sum); errors.Is(err, fs.ErrNotExist) {
		return a.lost(ctx, k)
	} else if err != nil {
		return err
	}
	tag, err := a.cfg.Pool.Exec(ctx, `update recordings set node_id = null where id = $1 and node_id = $2 and state in ('done', 'recovered')`, k.ID, a.cfg.NodeID)
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 { // deleted meanwhile: both copies go
		nudge(a.clean)
		return nil
	}
	a.log.Info("recording uploaded", "recording", k.ID, "place", k.Place)
	return a.removeFile(k.Place)
}

// lost: the file was taken away behind our back. It is said once, and the others are not held up.
func (a *Archive) lost(ctx context.Context, k kept) error {
	a.log.Error("recording lost", "recording", k.ID, "place", k.Place, "err", fs.ErrNotExist)
	_, err := a.cfg.Pool.Exec(ctx, `update recordings set state = 'failed', error = $2 where id = $1 and state in ('done', 'recovered')`, k.ID, InWords(fs.ErrNotExist))
	return err
}

// sweepUploaded removes local files whose upload was confirmed just before the process died.
func (a *Archive) sweepUploaded(ctx context.Context) error {
	if a.store == nil {
		return nil
	}
	var places []string
	err := filepath.WalkDir(a.cfg.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".wav" || len(places) == most {
			return err
		}
		place, err := filepath.Rel(a.cfg.Dir, path)
		places = append(places, filepath.ToSlash(place))
		return err
	})
	if err != nil || len(places) == 0 {
		return err
	}
	uploaded, err := a.find(ctx, `r.place = any($1) and r.node_id is null and r.state in ('done', 'recovered')`, places)
	all := err
	for _, k := range uploaded {
		all = errors.Join(all, a.removeFile(k.Place))
	}
	return all
}

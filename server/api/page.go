package api

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"path"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// The built pages: files by their own path, and for every other address of the desk its one page.

type file struct {
	data, zipped []byte // zipped is nil when it would not be smaller
	kind, tag    string
}

// loadPages reads and packs every file once; there are few and they do not change while the program runs.
func loadPages(web fs.FS) (map[string]file, error) {
	files := map[string]file{}
	err := fs.WalkDir(web, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(path.Base(name), ".") {
			return err
		}
		f := file{kind: mime.TypeByExtension(path.Ext(name))}
		if f.data, err = fs.ReadFile(web, name); err != nil {
			return err
		}
		if f.kind == "" {
			f.kind = fiber.MIMEOctetStream
		}
		sum := sha256.Sum256(f.data)
		f.tag = `"` + hex.EncodeToString(sum[:8]) + `"`
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, _ = w.Write(f.data) // a buffer takes everything
		if w.Close(); packed.Len() < len(f.data)*9/10 {
			f.zipped = packed.Bytes()
		}
		files[name] = f
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the pages: %w", err)
	}
	return files, nil
}

func (s *Server) desk(c *fiber.Ctx) error {
	name := strings.Trim(c.Path(), "/")
	if path.Ext(name) == "" {
		name = "desk/index.html"
		if _, built := s.pages[name]; !built {
			name = "index.html" // the page that says so
		}
	}
	return s.file(c, name)
}

func (s *Server) page(c *fiber.Ctx) error {
	name := strings.Trim(c.Path(), "/")
	if name == "" {
		name = "index.html"
	}
	if _, built := s.pages[name+".html"]; built { // /help/returns
		name += ".html"
	}
	return s.file(c, name)
}

func (s *Server) file(c *fiber.Ctx, name string) error {
	f, ok := s.pages[name]
	if !ok {
		return fiber.ErrNotFound
	}
	c.Set(fiber.HeaderContentType, f.kind)
	c.Set(fiber.HeaderETag, f.tag)
	c.Set(fiber.HeaderVary, fiber.HeaderAcceptEncoding)
	c.Set(fiber.HeaderCacheControl, "no-cache")
	if strings.Contains(name, "assets/") { // their names change with their content
		c.Set(fiber.HeaderCacheControl, "public, max-age=31536000, immutable")
	}
	if !strings.HasPrefix(name, "desk/") && path.Ext(name) != ".html" { // foreign pages embed the widget
		c.Set("Cross-Origin-Resource-Policy", "cross-origin")
		c.Set(fiber.HeaderAccessControlAllowOrigin, "*")
	}
	if strings.Contains(c.Get(fiber.HeaderIfNoneMatch), f.tag) {
		return c.SendStatus(fiber.StatusNotModified)
	}
	if f.zipped != nil && strings.Contains(c.Get(fiber.HeaderAcceptEncoding), "gzip") {
		c.Set(fiber.HeaderContentEncoding, "gzip")
		return c.Send(f.zipped)
	}
	return c.Send(f.data)
}

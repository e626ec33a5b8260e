package api

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"
)

const (
	bodyLimit      = 256 << 10 // of what we take
	readLimit      = 4 << 20   // of what is read to the end, so that the refusal arrives: closing in mid-send resets the connection
	fileLimit      = 10 << 20  // of a file, where one is taken
	headerLimit    = 16 << 10
	requestTimeout = 15 * time.Second
)

// routes is every way in, on one page.
func (s *Server) routes() *fiber.App {
	app := fiber.New(fiber.Config{
		Immutable:             true, // fiber's strings would change under us after the request
		BodyLimit:             readLimit,
		ReadBufferSize:        headerLimit,
		ReadTimeout:           30 * time.Second,
		IdleTimeout:           2 * time.Minute,
		DisableStartupMessage: true,
		ErrorHandler:          s.answerError,
	})
	app.Server().HeaderReceived = s.limits
	app.Use(recover.New(recover.Config{EnableStackTrace: true, StackTraceHandler: s.panicked}))
	app.Use(deadline, secure, s.from)

	app.Get("/healthz", func(c *fiber.Ctx) error { return c.SendString("ok") })
	app.Get("/readyz", s.ready)
	if s.cfg.Metrics != nil {
		app.Get("/metrics", loopbackOnly, adaptor.HTTPHandler(promhttp.HandlerFor(s.cfg.Metrics, promhttp.HandlerOpts{})))
	}

	app.Use("/api", s.guard)
	app.Get("/api/live", s.live)
	RegisterHandlersWithOptions(app, NewStrictHandler(s, []StrictMiddlewareFunc{permit}),
		FiberServerOptions{HandlerMiddlewares: []HandlerMiddlewareFunc{s.check}})
	app.Use("/api", func(*fiber.Ctx) error { return fiber.ErrNotFound })

	for _, mount := range s.cfg.Mount {
		mount(app)
	}
	app.Get("/desk", s.desk)
	app.Get("/desk/*", s.desk)
	app.Get("/*", s.page)
	return app
}

// limits gives those requests more room and time that send a file.
func (s *Server) limits(h *fasthttp.RequestHeader) (r fasthttp.RequestConfig) {
	path, _, _ := strings.Cut(string(h.RequestURI()), "?")
	if op := s.spec.fixed[string(h.Method())+" "+path]; op != nil && op.file != "" {
		r.MaxRequestBodySize, r.ReadTimeout = fileLimit+readLimit, 3*time.Minute // what is a little too large is refused in words
	}
	return r
}

// deadline ends what a request began: fiber's own context never ends.
func deadline(c *fiber.Ctx) error {
	ctx, cancel := context.WithTimeout(c.UserContext(), requestTimeout)
	defer cancel()
	c.SetUserContext(ctx)
	return c.Next()
}

// The desk shows foreign text everywhere; if an escape ever fails, this alone stops it. Styles stand in files.
const policy = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; " +
	"connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

func secure(c *fiber.Ctx) error {
	c.Set("Content-Security-Policy", policy)
	c.Set("X-Content-Type-Options", "nosniff")
	c.Set("X-Frame-Options", "DENY")
	c.Set("Referrer-Policy", "same-origin")
	c.Set("Cross-Origin-Opener-Policy", "same-origin")
	c.Set("Cross-Origin-Resource-Policy", "same-origin")
	c.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(self)")
	if strings.HasPrefix(c.Path(), "/api") {
		c.Set("Cache-Control", "no-store")
	}
	return c.Next()
}

func (s *Server) ready(c *fiber.Ctx) error {
	ctx, cancel := context.WithTimeout(c.UserContext(), 2*time.Second)
	defer cancel()
	err := s.answering(ctx)
	if err == nil && s.cfg.Ready != nil {
		err = s.cfg.Ready()
	}
	if err != nil {
		s.log.Warn("not ready", "err", err)
		return c.Status(fiber.StatusServiceUnavailable).SendString("not ready")
	}
	return c.SendString("ready")
}

func (s *Server) answering(ctx context.Context) error {
	if !s.cfg.Bus.Connected() {
		return errors.New("the bus is away")
	}
	return s.cfg.Pool.Ping(ctx)
}

// loopbackOnly hides what is behind it from everybody but this machine; a proxy on this machine speaks for others.
func loopbackOnly(c *fiber.Ctx) error {
	if !c.Context().RemoteIP().IsLoopback() || c.Get("X-Forwarded-For") != "" || c.Get("Forwarded") != "" {
		return fiber.ErrNotFound
	}
	return c.Next()
}

// from leaves the caller's address for everybody behind: also for the channels' own routes, which do not know our proxies.
func (s *Server) from(c *fiber.Ctx) error {
	c.Locals("peer", s.peer(c))
	return c.Next()
}

// peer is the address that a request comes from: the last one that no trusted proxy of ours has written.
func (s *Server) peer(c *fiber.Ctx) string {
	from := c.Context().RemoteIP().String()
	hops := strings.Split(c.Get("X-Forwarded-For"), ",")
	for i := len(hops) - 1; i >= 0 && s.trusted(from); i-- {
		if hop, err := netip.ParseAddr(strings.TrimSpace(hops[i])); err == nil {
			from = hop.Unmap().String()
		} else {
			break
		}
	}
	return from
}

func (s *Server) trusted(ip string) bool {
	a, err := netip.ParseAddr(ip)
	for _, p := range s.proxies {
		if err == nil && p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}

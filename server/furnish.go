package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"patchbay/agents"
	"patchbay/llm"
)

// The first start: who may sign in, a queue, knowledge, and the words that greet the administrator.

// signIn is a one-time link for an agent.
type signIn struct{ name, token string }

// furnish loads the knowledge base, the agents of the settings and, when asked, the demonstration data. Agents without a
// password get a link.
func (h *house) furnish(ctx context.Context) (links []signIn, err error) {
	if dir := h.cfg.Knowledge.Dir; dir != "" {
		base := strings.TrimRight(h.cfg.Knowledge.URL, "/") + "/"
		if base == "/" {
			base = "/help/"
		}
		articles, err := llm.ReadArticles(os.DirFS(dir), base)
		if err != nil {
			return nil, fmt.Errorf("knowledge.dir: %w", err)
		}
		if err := llm.Load(ctx, h.db.Pool, articles); err != nil {
			return nil, err
		}
	}
	for _, text := range h.cfg.Desk.Agents {
		m := agentPattern.FindStringSubmatch(text) // checked when the settings were read
		l, err := h.invite(ctx, agents.Agent{Login: m[1], Name: m[2], Role: cmp.Or(m[3], "agent")}, false)
		if err != nil {
			return nil, err
		}
		links = append(links, l...)
	}
	if !h.cfg.Demo {
		return links, nil
	}
	articles, err := llm.DemoArticles()
	if err != nil {
		return nil, err
	}
	if err := llm.Load(ctx, h.db.Pool, articles); err != nil {
		return nil, err
	}
	l, err := h.invite(ctx, agents.Agent{Login: "ana", Name: "Ana Brekke", Role: "admin"}, true)
	return append(links, l...), err
}

// invite makes sure that the agent is there, and makes a link: always, or only for one without a password.
func (h *house) invite(ctx context.Context, a agents.Agent, always bool) ([]signIn, error) {
	a.Queues = []int64{h.queue}
	id, err := agents.EnsureAgent(ctx, h.db.Pool, a)
	if err != nil {
		return nil, err
	}
	has, err := agents.HasPassword(ctx, h.db.Pool, id)
	if err != nil || has && !always {
		return nil, err
	}
	token, err := agents.SignInLink(ctx, h.db.Pool, id)
	return []signIn{{a.Name, token}}, err
}

func (h *house) greet(links []signIn, took time.Duration) {
	h.out("")
	h.out("Patchbay is up after %s.", took.Round(10*time.Millisecond))
	h.out("  customers  %s/", h.publicURL())
	for _, l := range links {
		h.out("  desk       %s/desk/#link=%s   (signs in %s once)", h.publicURL(), l.token, l.name)
	}
	if len(links) == 0 {
		h.out("  desk       %s/desk/", h.publicURL())
	}
	if h.voice != nil {
		h.out("  phone      sip:%s@%s", h.cfg.SIP.Number, h.voice.Addr())
	}
	if h.mail != nil {
		h.out("  mail       %s", h.cfg.Mail.Address)
	}
	h.out("  responder  %s", h.describeResponder())
	h.out("")
}

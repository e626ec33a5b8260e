package main

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/channels/email"
	"patchbay/channels/voice"
	"patchbay/channels/voice/archive"
	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/webleg"
	"patchbay/llm"
	"patchbay/llm/human"
)

// What the rooms of the house are told by its settings.

func (h *house) voiceConfig(receive channels.Receive) (cfg voice.Config, err error) {
	phones := prefixes(h.cfg.SIP.Phones)
	if h.cfg.Demo && len(phones) == 0 {
		phones = prefixes([]string{"127.0.0.0/8", "::1"})
	}
	trunks := prefixes(h.cfg.SIP.Trunks)
	if h.testPhone.IsValid() {
		trunks = append(trunks, netip.PrefixFrom(h.testPhone, h.testPhone.BitLen()))
	}
	cfg = voice.Config{Listen: h.cfg.SIP.Listen, ExternalIP: h.cfg.SIP.ExternalIP, Numbers: []string{h.cfg.SIP.Number}, Trunks: trunks, Phones: phones,
		RTPMin: h.cfg.RTP.PortMin, RTPMax: h.cfg.RTP.PortMax, WebRTCPort: h.cfg.WebRTC.UDPPort, WebRTCExternalIP: h.cfg.WebRTC.ExternalIP,
		Borrow: func(ctx context.Context, call, by int64, t channels.CallTarget) (int64, string, error) {
			return agents.Borrow(ctx, h.db.Pool, call, by, t)
		},
		GiveBack: func(ctx context.Context, call, agent int64) error {
			return agents.GiveBack(ctx, h.db.Pool, h.bus, call, agent)
		},
		Expect: h.line.Expect,
		CallTimes: func(ctx context.Context, conversation int64) (channels.CallTimes, error) {
			return agents.CallTimes(ctx, h.db.Pool, conversation)
		},
		HasRead: func(ctx context.Context, agent, conversation int64) (bool, error) {
			return agents.HasRead(ctx, h.db.Pool, agent, conversation)
		},
		Wish:    func(words string) bool { return human.Read(words, human.Context{Channel: channels.Voice}).Yes },
		Archive: h.archive, Receive: receive, Bus: h.bus, Pool: h.db.Pool, NodeID: h.node, Log: h.log, TraceDays: h.cfg.Calls.TraceDays, HideListening: !h.cfg.Calls.ShowListening,
		Times: voice.Times{Voicemail: time.Duration(h.cfg.Calls.VoicemailSeconds) * time.Second, VoicemailQuiet: time.Duration(h.cfg.Calls.VoicemailSilenceSeconds) * time.Second}}
	if cfg.Language, cfg.Company = h.cfg.Speech.Language, h.cfg.Company.Name; h.speech != nil {
		cfg.Speech = h.speech
	}
	if cfg.TURN, err = h.turnConfig(); err != nil {
		return cfg, err
	}
	for _, s := range h.cfg.SIP.ListenAlso {
		transport, addr, _ := strings.Cut(s, ":")
		cfg.ListenAlso = append(cfg.ListenAlso, edge.Listen{Transport: transport, Addr: addr})
	}
	if h.cfg.SIP.TLSCert != "" {
		if cfg.TLS, err = edge.ServerTLS(h.cfg.SIP.TLSCert, h.cfg.SIP.TLSKey); err != nil {
			return cfg, fmt.Errorf("sip.tls_cert: %w", err)
		}
	}
	if h.cfg.SIP.TLSRoots != "" {
		if cfg.Roots, err = edge.ClientTLS(h.cfg.SIP.TLSRoots); err != nil {
			return cfg, fmt.Errorf("sip.tls_roots: %w", err)
		}
	}
	return cfg, nil
}

// prefixes reads networks; they were checked when the settings were read.
func prefixes(texts []string) []netip.Prefix {
	list := make([]netip.Prefix, 0, len(texts))
	for _, t := range texts {
		if p, err := netip.ParsePrefix(t); err == nil {
			list = append(list, p)
		} else if a, err := netip.ParseAddr(t); err == nil {
			list = append(list, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return list
}

func (h *house) archiveConfig() archive.Config {
	c := h.cfg.Recordings
	return archive.Config{Dir: c.Dir, KeepDays: c.KeepDays, S3: archive.S3{Endpoint: c.S3Endpoint, Bucket: c.S3Bucket, Region: c.S3Region, Key: c.S3Key, Secret: c.S3Secret},
		Pool: h.db.Pool, Bus: h.bus, NodeID: h.node, NodeName: h.nodeName, Log: h.log}
}

func (h *house) turnConfig() (cfg webleg.TURNConfig, err error) {
	c := h.cfg.TURN
	media := make([]netip.AddrPort, 0, len(c.Media))
	for _, at := range c.Media { // checked when the settings were read
		media = append(media, netip.MustParseAddrPort(at))
	}
	cfg = webleg.TURNConfig{Listen: c.Listen, TLSListen: c.TLSListen, Host: c.Host, Secret: c.Secret, Media: media}
	if c.TLSListen != "" {
		if cfg.TLS, err = edge.ServerTLS(c.Cert, c.Key); err != nil {
			return cfg, fmt.Errorf("turn.cert: %w", err)
		}
	}
	return cfg, nil
}

// dialsOut tells whether customers can be called.
func (h *house) dialsOut() bool { return h.voice != nil && h.voice.DialsOut() }

// ice hands out the relay; nobody needs one without a telephone.
func (h *house) ice(user string) []channels.ICEServer {
	if h.voice == nil {
		return []channels.ICEServer{}
	}
	return h.voice.ICE(user)
}

func (h *house) mailConfig(receive channels.Receive) email.Config {
	m := h.cfg.Mail
	return email.Config{Pool: h.db.Pool, Bus: h.bus, Receive: receive, NodeID: h.node, Log: h.log,
		IMAPHost: m.IMAPHost, IMAPPort: m.IMAPPort, IMAPTLS: m.IMAPTLS, SMTPHost: m.SMTPHost, SMTPPort: m.SMTPPort, SMTPTLS: m.SMTPTLS,
		User: m.User, Password: m.Password, Address: m.Address, Name: m.Name, Mailbox: m.Mailbox}
}

func (h *house) phone() string {
	if h.cfg.SIP.Listen == "" {
		return ""
	}
	return h.cfg.SIP.Number
}

func (h *house) publicURL() string {
	if h.cfg.HTTP.PublicURL != "" {
		return h.cfg.HTTP.PublicURL
	}
	return "http://" + h.web.Addr().String()
}

// models are the Ollamas of the settings with the models that the settings give them. own is the one that we run ourselves.
func (c OllamaConfig) models(own string) []llm.Host {
	var all []llm.Host
	if first := cmp.Or(c.Host, own); first != "" {
		all = append(all, llm.Host{URL: first, Model: c.Model})
	}
	for _, h := range c.Hosts {
		address, model, _ := strings.Cut(h, " ")
		all = append(all, llm.Host{URL: address, Model: cmp.Or(model, c.Model)})
	}
	return all
}

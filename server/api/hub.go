package api

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/server/report"
)

const (
	gatherFor      = 50 * time.Millisecond // changed conversations are read together
	countsEvery    = time.Second
	sessionsEvery  = 2 * time.Second // a revoked session's socket ends within 5 s
	watchesEvery   = 5 * time.Second // heals a lost message event
	queryLimit     = 5 * time.Second
	tabsPerAgent   = 20
	changedAtOnce  = 2000 // beyond this all tabs read everything again instead
	closeSignedOut = 4401
	closeAway      = 1001
	closeLater     = 1013
)

// hub knows this node's tabs and supplies them with the desk's news. One goroutine, run, reads the database for all of
// them; mu guards the two maps and what is gathered.
type hub struct {
	s *Server

	mu      sync.Mutex
	open    bool
	tabs    map[string]*tab
	desks   map[int64]*desk
	changed map[int64]bool
	news    chan struct{} // changed has something
	revoked chan struct{} // sessions may have ended

	tabsDone sync.WaitGroup
	// These are run's own.
	last    *report.ConversationRow // the row that was told last
	counted time.Time
	counts  bool        // counts are due, after countsEvery
	away    atomic.Bool // the bus, when it was looked at last
}

// desk is one agent's tabs on this node.
type desk struct {
	tabs   map[string]*tab
	owner  string // the tab that owns the phone, on whatever node; "": none
	cancel func() // of the subscription to the agent's frames; set before ready is closed, nil: there is none
	ready  chan struct{}
}

func newHub(s *Server) *hub {
	return &hub{s: s, tabs: map[string]*tab{}, desks: map[int64]*desk{}, changed: map[int64]bool{},
		news: make(chan struct{}, 1), revoked: make(chan struct{}, 1)}
}

// recheck makes run look soon which sessions live.
func (h *hub) recheck() {
	select {
	case h.revoked <- struct{}{}:
	default:
	}
}

// run supplies the tabs until ctx ends, then sends them away and waits for them.
func (h *hub) run(ctx context.Context) error {
	cancel, err := h.s.cfg.Bus.Subscribe(channels.DeskSubject, h.heard)
	if err != nil {
		return err
	}
	defer cancel()
	for _, subject := range []string{channels.TrunkSubject, channels.TrunkStateSubject} {
		cancel, err := h.s.cfg.Bus.Subscribe(subject, h.telephoneChanged)
		if err != nil {
			return err
		}
		defer cancel()
	}
	unalarm, err := h.s.cfg.Bus.Subscribe(channels.TrunkAlarmSubject, h.alarmed)
	if err != nil {
		return err
	}
	defer unalarm()
	noAlarms, err := h.s.cfg.Bus.Subscribe(channels.AlarmSubject, func(string, []byte) { h.tellSupervisors(LiveOut{Type: LiveOutTypePromises}) })
	if err != nil {
		return err
	}
	defer noAlarms()
	h.mu.Lock()
	h.open = true
	h.mu.Unlock()
	defer h.sendAway()

	sessions, watches := time.NewTicker(sessionsEvery), time.NewTicker(watchesEvery)
	defer sessions.Stop()
	defer watches.Stop()
	gather := time.NewTimer(time.Hour)
	gather.Stop()
	count := time.NewTimer(time.Hour)
	count.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.news:
			gather.Reset(gatherFor)
		case <-gather.C:
			if again := h.tellRows(ctx); again > 0 {
				gather.Reset(again)
			}
			if wait := h.tellCounts(ctx, true); wait > 0 {
				count.Reset(wait)
			}
		case <-count.C:
			h.tellCounts(ctx, false)
		case <-h.revoked:
			h.checkSessions(ctx)
		case <-sessions.C:
			h.checkBus()
			h.checkSessions(ctx)
		case <-watches.C:
			h.checkWatches(ctx)
		}
	}
}

// heard gathers changed conversations.
func (h *hub) heard(_ string, data []byte) {
	var n channels.DeskNews
	if json.Unmarshal(data, &n) != nil || n.ConversationID == 0 {
		return
	}
	h.mu.Lock()
	first := len(h.changed) == 0
	h.changed[n.ConversationID] = true
	h.mu.Unlock()
	if first {
		select {
		case h.news <- struct{}{}:
		default:
		}
	}
}

// telephoneChanged tells those who may see telephone settings to read them again.
func (h *hub) telephoneChanged(string, []byte) {
	h.tellSupervisors(LiveOut{Type: LiveOutTypeTelephone})
}

// alarmed tells them what somebody should look at, or that somebody has.
func (h *hub) alarmed(_ string, data []byte) {
	frame := LiveOut{Type: LiveOutTypeAlarm}
	var a channels.TrunkAlarm
	if json.Unmarshal(data, &a) == nil && a.ID != 0 {
		frame.Alarm = &a
	}
	h.tellSupervisors(frame)
}

func (h *hub) tellSupervisors(out LiveOut) {
	frame := encode(out)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.tabs {
		if supervises(t.session) {
			t.send(frame)
		}
	}
}

// tellRows sends the rows that have changed to every tab; again says when to try once more.
func (h *hub) tellRows(ctx context.Context) (again time.Duration) {
	h.mu.Lock()
	ids := make([]int64, 0, len(h.changed))
	for id := range h.changed {
		ids = append(ids, id)
	}
	clear(h.changed)
	tabs := h.allTabs()
	h.mu.Unlock()
	if len(tabs) == 0 || len(ids) == 0 {
		return 0
	}
	if len(ids) > changedAtOnce {
		for _, t := range tabs {
			t.resync()
		}
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	rows, err := report.Rows(ctx, h.s.cfg.Pool, ids)
	if err != nil {
		h.s.log.Warn("changed rows not read", "rows", len(ids), "err", err)
		h.mu.Lock()
		for _, id := range ids {
			h.changed[id] = true
		}
		h.mu.Unlock()
		return time.Second
	}
	if len(rows) == 0 {
		return 0
	}
	// one frame for all of them: with 200 tabs a write for each row and tab took two thirds of the server's CPU
	out := LiveOut{Type: LiveOutTypeConversations, Conversations: &rows}
	if len(rows) == 1 {
		out = LiveOut{Type: LiveOutTypeConversation, Conversation: &rows[0]}
	}
	frame := encode(out)
	for _, t := range tabs {
		t.send(frame)
	}
	h.last = &rows[len(rows)-1]
	return 0
}

// tellCounts sends each agent its counts, beside the row that was told last, at most once in countsEvery; wait says how
// long until the next may go.
func (h *hub) tellCounts(ctx context.Context, news bool) (wait time.Duration) {
	if since := time.Since(h.counted); news && since < countsEvery {
		if h.counts {
			return 0 // the timer runs already
		}
		h.counts = true
		return countsEvery - since
	}
	h.counts, h.counted = false, time.Now()
	h.mu.Lock()
	desks := make(map[int64][]*tab, len(h.desks))
	ids := make([]int64, 0, len(h.desks))
	for id, d := range h.desks {
		ids = append(ids, id)
		for _, t := range d.tabs {
			desks[id] = append(desks[id], t)
		}
	}
	h.mu.Unlock()
	if len(ids) == 0 || h.last == nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	all, err := report.Count(ctx, h.s.cfg.Pool, ids...)
	if err != nil {
		h.s.log.Warn("counts not read", "err", err)
		return 0
	}
	for id, counts := range all {
		frame := encode(LiveOut{Type: LiveOutTypeConversation, Conversation: h.last, Counts: &counts})
		for _, t := range desks[id] {
			t.send(frame)
		}
	}
	return 0
}

// checkSessions closes the sockets whose session has ended and moves the end of those that are used.
func (h *hub) checkSessions(ctx context.Context) {
	h.mu.Lock()
	tabs := h.allTabs()
	h.mu.Unlock()
	if len(tabs) == 0 {
		return
	}
	var all, used [][]byte
	for _, t := range tabs {
		all = append(all, t.session.Hash)
		if t.used.Swap(false) {
			used = append(used, t.session.Hash)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	alive, err := h.s.login.Alive(ctx, all)
	if err == nil && len(used) > 0 {
		err = h.s.login.Extend(ctx, used)
	}
	if err != nil {
		h.s.log.Warn("sessions not checked", "err", err)
		return // who cannot be checked stays: the database is away
	}
	living := make(map[string]bool, len(alive))
	for _, hash := range alive {
		living[string(hash)] = true
	}
	for _, t := range tabs {
		if !living[string(t.session.Hash)] {
			t.shut(closeSignedOut, "signed out")
		}
	}
}

// checkBus makes all tabs read again when the bus is back: what was said meanwhile is lost.
func (h *hub) checkBus() {
	away := !h.s.cfg.Bus.Connected()
	if h.away.Swap(away) && !away {
		h.mu.Lock()
		tabs := h.allTabs()
		h.mu.Unlock()
		for _, t := range tabs {
			t.resync()
		}
	}
}

// checkWatches lets a watch read again whose conversation has gone on without it.
func (h *hub) checkWatches(ctx context.Context) {
	h.mu.Lock()
	tabs := h.allTabs()
	h.mu.Unlock()
	watches := map[int64][]*watch{}
	var ids []int64
	for _, t := range tabs {
		if w := t.watching.Load(); w != nil {
			if watches[w.id] == nil {
				ids = append(ids, w.id)
			}
			watches[w.id] = append(watches[w.id], w)
		}
	}
	if len(ids) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	seqs, err := report.LastSeqs(ctx, h.s.cfg.Pool, ids)
	if err != nil {
		h.s.log.Warn("watches not checked", "err", err)
		return
	}
	for id, seq := range seqs {
		for _, w := range watches[id] {
			if w.seq.Load() < seq {
				w.poke()
			}
		}
	}
}

// allTabs needs mu.
func (h *hub) allTabs() []*tab {
	tabs := make([]*tab, 0, len(h.tabs))
	for _, t := range h.tabs {
		tabs = append(tabs, t)
	}
	return tabs
}

// add takes a tab in and returns when the agent's frames reach it; false when the house closes, the agent has too many
// tabs or the bus does not answer. After true the tab is to be removed.
func (h *hub) add(t *tab) bool {
	id := t.session.AgentID
	h.mu.Lock()
	d := h.desks[id]
	if !h.open || d != nil && len(d.tabs) >= tabsPerAgent {
		h.mu.Unlock()
		return false
	}
	first := d == nil
	if first {
		d = &desk{tabs: map[string]*tab{}, ready: make(chan struct{})}
		h.desks[id] = d
	}
	d.tabs[t.id] = t
	h.tabs[t.id] = t
	h.tabsDone.Add(1)
	h.mu.Unlock()

	if first { // without mu: the bus may take its time
		var err error
		d.cancel, err = h.s.cfg.Bus.Subscribe(channels.AgentSubject(id), func(_ string, data []byte) { h.forward(id, data) })
		if err != nil {
			h.s.log.Error("agent's frames", "agent", id, "err", err)
		}
		close(d.ready)
	}
	<-d.ready
	if d.cancel == nil {
		h.remove(t)
		return false
	}
	return true
}

func (h *hub) remove(t *tab) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.desks[t.session.AgentID]
	delete(h.tabs, t.id)
	delete(d.tabs, t.id)
	if len(d.tabs) == 0 {
		if d.cancel != nil {
			d.cancel()
		}
		delete(h.desks, t.session.AgentID)
	}
	h.tabsDone.Done()
}

func (h *hub) sendAway() {
	h.mu.Lock()
	h.open = false
	for _, t := range h.tabs {
		t.shut(closeAway, "the server stops")
	}
	h.mu.Unlock()
	h.tabsDone.Wait()
}

// forward brings a frame from the bus to the agent's tabs, as it is. Two kinds are ours: presence lacks the profile
// that only report can read, and phone says which tab, on whatever node, owns the phone.
func (h *hub) forward(agentID int64, data []byte) {
	var f struct {
		Type string `json:"type"`
		Tab  string `json:"tab"`
		Me   any    `json:"me"`
	}
	if json.Unmarshal(data, &f) != nil || f.Type == "" {
		h.s.log.Warn("odd frame for an agent", "agent", agentID)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.desks[agentID]
	if d == nil {
		return
	}
	switch {
	case f.Type == string(LiveOutTypePhone):
		d.owner = f.Tab
		for _, t := range d.tabs {
			t.send(phoneFrame(t.id, f.Tab))
		}
		return
	case f.Type == string(LiveOutTypePresence) && f.Me == nil:
		h.mu.Unlock()
		frame, err := h.presence(agentID)
		h.mu.Lock()
		if err != nil {
			h.s.log.Warn("presence not read", "agent", agentID, "err", err)
			return
		}
		data = frame
	}
	for _, t := range d.tabs {
		t.send(data)
	}
}

func (h *hub) presence(agentID int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), queryLimit) // a bus callback has no context of its own
	defer cancel()
	me, err := h.s.me(ctx, agentID)
	if err != nil {
		return nil, err
	}
	return encode(LiveOut{Type: LiveOutTypePresence, Me: me}), nil
}

// claimPhone makes tab the owner of the agent's phone on all nodes; "" frees it.
func (h *hub) claimPhone(agentID int64, tab string) error {
	return h.s.cfg.Bus.Publish(channels.AgentSubject(agentID), map[string]string{"type": string(LiveOutTypePhone), "tab": tab})
}

// hasPhone tells whether the tab owns its agent's phone, to this node's knowledge.
func (h *hub) hasPhone(t *tab) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.desks[t.session.AgentID]
	return d != nil && d.owner == t.id
}

// phoneFrame says to a tab whether it owns the phone, and else which one does; no tab at all: the phone is free.
func phoneFrame(tab, owner string) []byte {
	on := tab == owner
	f := LiveOut{Type: LiveOutTypePhone, On: &on}
	if owner != "" {
		f.Tab = &owner
	}
	return encode(f)
}

// encode cannot fail: the frames hold nothing that JSON lacks.
func encode(f LiveOut) []byte {
	data, err := json.Marshal(f)
	if err != nil {
		data = []byte(`{"type":"resync"}`)
	}
	return data
}

// attend notes the tab where the routers look.
func (h *hub) attend(ctx context.Context, t *tab) error {
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	return agents.OpenSocket(ctx, h.s.cfg.Pool, h.s.cfg.Bus, t.id, t.session.AgentID, h.s.cfg.NodeID)
}

func (h *hub) leave(t *tab) {
	ctx, cancel := context.WithTimeout(context.Background(), queryLimit) // also when the house is closing
	defer cancel()
	if err := agents.CloseSocket(ctx, h.s.cfg.Pool, t.id); err != nil {
		h.s.log.Warn("socket not forgotten", "tab", t.id, "err", err)
	}
}

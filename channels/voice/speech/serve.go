package speech

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// childArgument is what a child of ours is started with.
const childArgument = "speech"

// Serve is the child's whole life when the process was started as one, by args that are os.Args[1:]: then it does not return. Else it
// only notes that this program can be started so. The server calls it first, and so does TestMain of every package whose tests open local engines.
func Serve(args []string) {
	if len(args) != 1 || args[0] != childArgument || os.Getenv(childVariable) == "" {
		if err := os.Setenv(servesVariable, strconv.Itoa(os.Getpid())); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		return
	}
	// The server tells a child to end by closing its input. A Ctrl-C that the whole group gets must not take speech from calls that
	// are allowed to end in peace.
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	if err := serve(os.Stdin, os.NewFile(3, "to server"), os.NewFile(4, "black box"), (*server).load); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// childVariable keeps a program that happens to be called with our argument from becoming a child.
const childVariable = "PATCHBAY_SPEECH_CHILD"

// servesVariable has the process id of the program that has called Serve. It is none of the settings (PATCHBAY_...).
const servesVariable = "SPEECH_SERVED_BY"

// server is the child's side.
type server struct {
	to       *bufio.Writer
	toMu     sync.Mutex
	engines  *Engines // owner of the ears
	slots    chan struct{}
	ears     map[string]recognise             // by language
	tongues  *whisper                         // tells languages apart; nil: none does
	detector func(rate int) (detector, error) // nil: this child does not hear
	voices   []loadedVoice
	sessions map[uint32]session // of the reading goroutine
	box      *blackBox
	pace     *pace
	alone    sync.RWMutex // a suspect works by itself, so that the black box names nobody else
}

// loadedVoice makes the sound of a text, with its rate; any number of threads may ask it at once.
type loadedVoice struct {
	name, language string
	speak          func(text string) (pcm []int16, rate int)
}

// recognise makes text of a whole piece of sound at 16 kHz; any number of threads may call it at once.
type recognise func(pcm []float32) (transcript, error)

// session is one ear, or one text being spoken.
type session struct {
	ear   *Ear
	close context.CancelFunc
}

func serve(from io.Reader, to io.Writer, box *os.File, load func(*server, Job, shelf) (offer, error)) error {
	in := messages{from: bufio.NewReaderSize(from, 1<<16)}
	first, err := in.next()
	var wish setup
	if err != nil || first.kind != kindSetup || json.Unmarshal(first.body, &wish) != nil {
		return fmt.Errorf("a speech child is started by the server, not by hand: %v", err)
	}
	s := &server{to: bufio.NewWriter(to), box: openBlackBox(box), pace: newPace(), slots: make(chan struct{}, max(1, wish.Threads)), sessions: map[uint32]session{},
		engines: &Engines{log: slog.New(slog.DiscardHandler)}}
	s.engines.ctx, s.engines.stop = context.WithCancel(context.Background())
	defer s.engines.Close()
	o, err := load(s, wish.Job, shelf(wish.Models))
	if err != nil {
		o.Error = err.Error()
	}
	s.send(appendJSON(nil, kindReady, 0, o))
	if err != nil {
		return err
	}
	s.engines.wg.Go(s.live)
	for {
		m, err := in.next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = s.take(m)
		}
		if err != nil {
			return err
		}
	}
}

// live gives the signs of life, and ends it when native code hangs.
func (s *server) live() {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			if hung := s.pace.look(now); hung != "" {
				die(hung)
			}
			s.send(appendMessage(nil, kindAlive, 0))
		case <-s.engines.ctx.Done():
			return
		}
	}
}

func (s *server) load(job Job, models shelf) (offer, error) {
	var o offer
	runtime, err := openONNX(models.path(fileRuntime))
	if err != nil {
		return o, err
	}
	lib, err := openSherpa(models.path(fileSherpa))
	if err != nil {
		return o, err
	}
	if job == Speaking {
		return o, s.loadVoices(lib, models, &o)
	}
	return o, s.loadEars(runtime, lib, models, &o)
}

func (s *server) loadEars(runtime *onnx, lib *sherpa, models shelf, o *offer) error {
	all, err := models.ears()
	if err != nil {
		return err
	}
	vad, err := openSilero(runtime, models.path(fileSilero))
	if err != nil {
		return err
	}
	s.detector = func(rate int) (detector, error) { return vad.detector(rate) }
	s.ears = map[string]recognise{}
	for _, m := range all {
		if s.ears[m.language] != nil {
			continue
		}
		bin, err := os.ReadFile(models.path(m.name + "/" + fileTokens))
		if err != nil {
			return err
		}
		list, err := moonshineTokens(bin)
		if err != nil {
			return fmt.Errorf("%s: %w: %s", models.path(m.name+"/"+fileTokens), err, fetch)
		}
		tokens, err := models.tokens(m.name, list)
		if err != nil {
			return err
		}
		r, err := lib.moonshine(models.path(m.name+"/"+fileEncoder), models.path(m.name+"/"+fileDecoder), tokens)
		if err != nil {
			return err
		}
		s.pace.measure(time.Second, func() { r.text(make([]float32, Wide)) }) // the first run makes the buffers
		s.ears[m.language] = func(pcm []float32) (transcript, error) { return transcript{text: r.text(pcm)}, nil }
	}
	if err := s.loadWhisper(runtime, models, o); err != nil {
		return err
	}
	o.Languages = slices.Sorted(maps.Keys(s.ears))
	return nil
}

// loadWhisper lets it hear the languages that have no recogniser of their own.
func (s *server) loadWhisper(runtime *onnx, models shelf, o *offer) error {
	if there, err := models.whisper(); !there || err != nil {
		if err != nil {
			o.Engine = err.Error() // the others hear without it
		}
		return nil
	}
	w, err := openWhisper(runtime, models)
	if err != nil {
		return err
	}
	s.tongues = w
	for l := range w.languages {
		if s.ears[l] == nil {
			s.ears[l] = func(pcm []float32) (transcript, error) { return w.text(pcm, l) }
		}
	}
	return nil
}

func (s *server) loadVoices(lib *sherpa, models shelf, o *offer) error {
	all, err := models.voices()
	if err != nil {
		return err
	}
	for _, m := range all {
		model, err := models.model(m)
		if err != nil {
			return err
		}
		tokens, err := models.tokens("voices/"+m.name, m.piperTokens())
		if err != nil {
			return err
		}
		v, err := lib.piper(model, tokens, models.path("espeak-ng-data"))
		if err != nil {
			return err
		}
		s.pace.measure(spokenIn(hello), func() { v.speak(hello) })
		s.voices = append(s.voices, loadedVoice{m.name, m.language, v.speak})
	}
	if err := s.loadPicos(models); err != nil {
		return err
	}
	for _, v := range s.voices {
		o.Voices = append(o.Voices, v.name)
		if !slices.Contains(o.Languages, v.language) {
			o.Languages = append(o.Languages, v.language)
		}
	}
	return nil
}

// loadPicos loads the voices of the languages that have no better one.
func (s *server) loadPicos(models shelf) error {
	all := slices.DeleteFunc(models.picos(), func(m picoModel) bool {
		return slices.ContainsFunc(s.voices, func(v loadedVoice) bool { return v.language == m.language })
	})
	if len(all) == 0 {
		return nil
	}
	path, err := models.picoLibrary()
	if err != nil {
		return err
	}
	lib, err := openPico(path)
	if err != nil {
		return err
	}
	for _, m := range all {
		v, err := lib.voice(m.reading, m.sound)
		if err != nil {
			return err
		}
		s.voices = append(s.voices, loadedVoice{m.name, m.language, v.speak})
	}
	return nil
}

func (s *server) send(b []byte) {
	s.toMu.Lock()
	defer s.toMu.Unlock()
	if _, err := s.to.Write(b); err != nil || s.to.Flush() != nil {
		die("the server is gone") // nobody is left to tell
	}
}

func die(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(3)
}

// take carries out a message.
func (s *server) take(m message) error {
	switch m.kind {
	case kindHear:
		return s.hear(m)
	case kindSay:
		return s.say(m)
	case kindSound:
		at, pcm, err := m.sound()
		if ear := s.sessions[m.session].ear; ear != nil && err == nil {
			ear.ring.putAt(at, pcm, ear.done)
		}
		return err
	case kindFinish:
		if ear := s.sessions[m.session].ear; ear != nil {
			ear.Finish()
		}
	case kindClose:
		if session, ok := s.sessions[m.session]; ok {
			session.close()
			delete(s.sessions, m.session)
		}
	default:
		return fmt.Errorf("message of kind %d is not for a child", m.kind)
	}
	return nil
}

func (s *server) hear(m message) error {
	var cfg wireHear
	if err := json.Unmarshal(m.body, &cfg); err != nil || cfg.Rate != Narrow && cfg.Rate != Wide || s.detector == nil {
		return fmt.Errorf("cannot hear %.200q: %v", m.body, err)
	}
	if _, used := s.sessions[m.session]; used {
		return fmt.Errorf("session %d is open", m.session)
	}
	r := s.ears[cmp.Or(cfg.Language, "en")]
	if r == nil && cfg.Language == "" {
		r = s.ears[slices.Min(slices.Collect(maps.Keys(s.ears)))]
	}
	d, err := s.detector(cfg.Rate)
	if err == nil && r == nil {
		d.close()
		err = fmt.Errorf("no model hears %q", cfg.Language)
	}
	if err != nil {
		s.send(appendJSON(nil, kindEnded, m.session, wireEnd{err.Error()}))
		return nil
	}
	if s.tongues != nil && len(cfg.Among) > 0 {
		r = s.among(r, cfg.Language, cfg.Among)
	}
	if s.tongues != nil && cfg.Foreign && len(cfg.Among) == 0 && cfg.Language != "" {
		r = s.foreign(r, cfg.Language)
	}
	work := &work{server: s, entry: s.box.enter(m.session), suspect: cfg.Suspect}
	transcribe := s.transcriber(r, cfg.HearConfig, work)
	if cfg.DetectOnly {
		transcribe = func(context.Context, []int16, bool) (transcript, error) { return transcript{}, nil }
	}
	ear := openEar(context.Background(), s.engines, cfg.Rate, func(ear *Ear) hearing {
		ear.attend = func(do func()) { work.note(deedHears, do) }
		w := newWhole(ear, transcribe, !cfg.DetectOnly)
		w.detector, w.again, w.told = watchedDetector{d, s.pace}, cfg.Again, cfg.Told
		return w
	})
	s.sessions[m.session] = session{ear, ear.stop}
	session := m.session
	s.engines.wg.Go(func() {
		defer work.entry.leave()
		for h := range ear.Events() {
			w := wireHeard{Kind: h.Kind, Text: h.Text, Confidence: h.Confidence, From: h.From, To: h.To, Level: h.Level, Words: h.Words, Language: h.Language, Live: h.Live}
			if h.Err != nil {
				w.Error = h.Err.Error()
			}
			s.send(appendJSON(nil, kindHeard, session, w))
		}
		<-ear.done
	})
	return nil
}

// work is what is done for a session.
type work struct {
	*server
	entry   *entry
	suspect bool
}

// note does it, and the black box knows.
func (w *work) note(deed int, do func()) {
	if w.suspect {
		w.alone.Lock()
		defer w.alone.Unlock()
	} else {
		w.alone.RLock()
		defer w.alone.RUnlock()
	}
	w.entry.note(deed, 1)
	defer w.entry.note(deed, -1)
	do()
}

// What makes sure of a caller's language.
const (
	tongueSound = Wide * 7 / 10 // so much sound
	tongueSure  = 0.8           // the likelihood of one among the others
	tongueTimes = 4             // so many pieces in the language that was expected, and it is not looked for any more
	foreignSure = 0.9           // the likelihood of one language among all
)

// foreign hears in a language, and says when the sound is in another one.
func (s *server) foreign(own recognise, language string) recognise {
	all := slices.Collect(maps.Keys(s.tongues.languages))
	var expected atomic.Int32
	return func(pcm []float32) (transcript, error) {
		t, err := own(pcm)
		if err != nil || t.text == "" || expected.Load() >= tongueTimes || len(pcm) < 2*tongueSound {
			return t, err
		}
		tongue, likely, err := s.tongues.tongue(pcm, all)
		switch {
		case err != nil || likely < foreignSure:
		case tongue == language:
			expected.Add(1)
		default:
			t.language = tongue
		}
		return t, err
	}
}

// among hears in the language that is spoken, one's own or one of the others.
func (s *server) among(own recognise, language string, others []string) recognise {
	all := slices.Compact(slices.Sorted(slices.Values(append([]string{language}, others...))))
	all = slices.DeleteFunc(all, func(l string) bool { return s.ears[l] == nil })
	var expected atomic.Int32
	return func(pcm []float32) (transcript, error) {
		if expected.Load() >= tongueTimes || len(pcm) < tongueSound {
			return own(pcm)
		}
		tongue, likely, err := s.tongues.tongue(pcm, all)
		if err != nil || likely < tongueSure {
			t, err2 := own(pcm)
			return t, errors.Join(err, err2)
		}
		if tongue == language {
			expected.Add(1)
		}
		t, err := s.ears[tongue](pcm)
		t.language = tongue
		return t, err
	}
}

var errBusy = errors.New("busy")

// slot waits for one of the threads; a look at an unfinished piece does not wait.
func (s *server) slot(ctx context.Context, wait bool) error {
	select {
	case s.slots <- struct{}{}:
		return nil
	default:
	}
	if !wait {
		return errBusy
	}
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: no thread was free", ErrEngine)
	}
}

// think runs native code about so much sound in a slot that was waited for, which is free then.
func (w *work) think(sound time.Duration, run func()) {
	defer func() { <-w.slots }()
	w.note(deedThinks, func() { w.pace.measure(sound, run) })
}

func (s *server) transcriber(r recognise, cfg HearConfig, w *work) transcriber {
	return func(ctx context.Context, pcm []int16, whole bool) (t transcript, err error) {
		if err := s.slot(ctx, whole); err != nil {
			return t, err
		}
		wide := newResampler(cfg.Rate, Wide).run(nil, pcm, true)
		type result struct {
			transcript
			err error
		}
		done := make(chan result, 1)
		s.engines.wg.Go(func() {
			w.think(time.Duration(len(wide))*time.Second/Wide, func() {
				t, err := r(floats(wide))
				done <- result{t, err}
			})
		})
		select {
		case r := <-done:
			return r.transcript, r.err
		case <-ctx.Done():
			return t, ctx.Err()
		}
	}
}

func (s *server) say(m message) error {
	var wish sayWish
	if err := json.Unmarshal(m.body, &wish); err != nil || wish.Rate != Narrow && wish.Rate != Wide {
		return fmt.Errorf("cannot say %.200q: %v", m.body, err)
	}
	if _, used := s.sessions[m.session]; used {
		return fmt.Errorf("session %d is open", m.session)
	}
	ctx, cancel := context.WithCancel(s.engines.ctx)
	s.sessions[m.session] = session{close: cancel}
	id := m.session
	s.engines.wg.Go(func() {
		defer cancel()
		work := &work{server: s, entry: s.box.enter(id)}
		defer work.entry.leave()
		end := wireEnd{}
		if err := s.speak(ctx, id, wish, work); err != nil {
			end.Error = err.Error()
		}
		s.send(appendJSON(nil, kindEnded, id, end))
	})
	return nil
}

func (s *server) speak(ctx context.Context, id uint32, wish sayWish, w *work) error {
	speaks := func(v loadedVoice) bool { return wish.Language == "" || wish.Language == v.language }
	i := slices.IndexFunc(s.voices, func(v loadedVoice) bool { return wish.Voice == v.name && speaks(v) })
	if i < 0 { // none was wished, or it speaks another language
		i = slices.IndexFunc(s.voices, speaks)
	}
	if i < 0 {
		return fmt.Errorf("no voice speaks %q", wish.Language)
	}
	voice := s.voices[i]
	for _, part := range breaths(wish.Text) {
		if err := s.slot(ctx, true); err != nil {
			return err
		}
		var pcm []int16
		var rate int
		w.think(spokenIn(part), func() { pcm, rate = voice.speak(part) })
		if rate < Narrow {
			return fmt.Errorf("the voice makes no sound of %.40q", part)
		}
		for chunk := range slices.Chunk(newResampler(rate, wish.Rate).run(nil, pcm, true), wish.Rate/2) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			s.send(appendMessage(nil, kindMade, id, appendSamples(nil, chunk)))
		}
		s.send(appendMessage(nil, kindMade, id))
	}
	return nil
}

const hello = "Hello."

// spokenIn is about how long a text's sound is.
func spokenIn(text string) time.Duration {
	return time.Duration(float64(weight(text)) / weightsPerSecond * float64(time.Second))
}

// breaths cuts a text where a speaker may breathe: whole sentences, but the first sound is waited for, so that a long first
// sentence is spoken up to its first comma while the rest is made.
func breaths(text string) []string {
	const long, short = 50, 12
	var all []string
	start := 0
	for i, r := range text {
		end := i + len(string(r))
		sentence := strings.ContainsRune(".!?…", r) && (end == len(text) || text[end] == ' ')
		clause := strings.ContainsRune(",;:", r) && end < len(text) && text[end] == ' ' && len(all) == 0 && end-start >= short && len(text)-start > long
		if sentence || clause {
			all = append(all, strings.TrimSpace(text[start:end]))
			start = end
		}
	}
	if rest := strings.TrimSpace(text[start:]); rest != "" {
		all = append(all, rest)
	}
	return all
}

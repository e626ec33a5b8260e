package llm

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"patchbay/channels"
)

// metrics counts ends of turns. Labels of outcome: see Outcome; of channel: voice, chat, email;
// of host: the addresses in the settings; of for: voice, text.
type metrics struct {
	turns   *prometheus.CounterVec
	took    prometheus.Histogram
	first   *prometheus.HistogramVec
	running *prometheus.GaugeVec
	places  *prometheus.GaugeVec
	up      *prometheus.GaugeVec
	waiting prometheus.Gauge
	calls   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (metrics, error) {
	m := metrics{
		turns: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "patchbay_answers_total", Help: "Turns of the responder by how they ended."}, []string{"outcome"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "patchbay_answer_seconds", Help: "From question to the end of the answer or the failure.",
			Buckets: []float64{.01, .05, .25, 1, 2, 4, 6, 8, 10, 15, 30}}),
		first: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "patchbay_first_sentence_seconds", Help: "From question to the first sentence shown.",
			Buckets: []float64{.05, .1, .25, .5, 1, 1.5, 2, 3, 4, 6, 10}}, []string{"channel"}),
		running: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "patchbay_model_running", Help: "Turns at a model now."}, []string{"host"}),
		places:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "patchbay_model_places", Help: "Turns at once that a model serves in time."}, []string{"host", "for"}),
		up:      prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "patchbay_model_up", Help: "1: the model is asked; 0: it is left alone until it answers a probe."}, []string{"host"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{Name: "patchbay_model_waiting", Help: "Turns that wait for a place at a model."}),
		calls:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "patchbay_model_calls", Help: "Calls that hold a place at the responder."}),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(register(reg, &m.turns), register(reg, &m.took), register(reg, &m.first), register(reg, &m.running),
		register(reg, &m.places), register(reg, &m.up), register(reg, &m.waiting), register(reg, &m.calls))
}

// register adopts the one that is there: when the responder changes over to another model the counts go on.
func register[C prometheus.Collector](reg prometheus.Registerer, c *C) error {
	err := reg.Register(*c)
	var before prometheus.AlreadyRegisteredError
	if errors.As(err, &before) {
		if there, ok := before.ExistingCollector.(C); ok {
			*c = there
			return nil
		}
	}
	return err
}

func (m metrics) note(channel channels.Kind, a Answer, err error, took time.Duration) {
	m.turns.WithLabelValues(Outcome(a, err)).Inc()
	m.took.Observe(took.Seconds())
	if a.FirstSentence > 0 {
		m.first.WithLabelValues(string(channel)).Observe(a.FirstSentence.Seconds())
	}
}

// Outcome is how a turn ended, in one word: model, quote, unknown, hand_over, cancelled, or a Failure's reason.
func Outcome(a Answer, err error) string {
	var f *Failure
	switch {
	case errors.As(err, &f):
		return f.Reason
	case err != nil:
		return "cancelled"
	case a.HandOver:
		return "hand_over"
	case a.Unknown:
		return "unknown"
	}
	return a.Mode
}

// show sets the gauges.
func (m metrics) show(s channels.ModelState) {
	m.waiting.Set(float64(s.Waiting))
	m.calls.Set(float64(s.Calls))
	for _, h := range s.Hosts {
		up := 1.0
		if h.Down != "" {
			up = 0
		}
		m.up.WithLabelValues(h.URL).Set(up)
		m.running.WithLabelValues(h.URL).Set(float64(h.Running))
		m.places.WithLabelValues(h.URL, calling.String()).Set(float64(h.VoicePlaces))
		m.places.WithLabelValues(h.URL, writing.String()).Set(float64(h.TextPlaces))
	}
}

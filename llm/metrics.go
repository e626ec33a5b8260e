package llm

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts ends of turns. Labels of outcome: model, quote, unknown, hand_over, cancelled, or a Failure's reason.
type metrics struct {
	turns *prometheus.CounterVec
	took  prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) (metrics, error) {
	m := metrics{
		turns: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "patchbay_answers_total", Help: "Turns of the responder by how they ended."}, []string{"outcome"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "patchbay_answer_seconds", Help: "From question to the end of the answer or the failure.",
			Buckets: []float64{.01, .05, .25, 1, 2, 4, 6, 8, 10, 15, 30}}),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(register(reg, &m.turns), register(reg, &m.took))
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

func (m metrics) note(a Answer, err error, took time.Duration) {
	outcome := a.Mode
	var f *Failure
	switch {
	case errors.As(err, &f):
		outcome = f.Reason
	case err != nil:
		outcome = "cancelled"
	case a.HandOver:
		outcome = "hand_over"
	case a.Unknown:
		outcome = "unknown"
	}
	m.turns.WithLabelValues(outcome).Inc()
	m.took.Observe(took.Seconds())
}

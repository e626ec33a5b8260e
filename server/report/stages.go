package report

import (
	"context"
	"slices"
	"time"

	"patchbay/channels"
)

// Stage is one part of the way from a customer's words to our answer. Of a call: turn_end (we wait whether the caller goes
// on), final_text (the recogniser), stored (the words are in the timeline), first_token and first_sentence (the model), first_audio
// (the voice), whole (voice to voice) and own (our share of it, without engines, model and the patience for the caller).
// Of writing: own, waited (for a place at the model), first_token, first_sentence, and whole.
type Stage struct {
	Stage string `json:"stage" db:"stage"`
	P50   int    `json:"p50_ms" db:"p50"`
	P95   int    `json:"p95_ms" db:"p95"`
}

// ChannelStages are one channel's, the stages in their order, and whole and own by the hour.
type ChannelStages struct {
	Channel  channels.Kind  `json:"channel"`
	Turns    int            `json:"turns"`
	Stages   []Stage        `json:"stages"`
	Hours    []StageHour    `json:"hours"`    // only those with turns
	Outcomes []StageOutcome `json:"outcomes"` // how many turns ended how, the most first
}

// StageHour is an hour's.
type StageHour struct {
	At       time.Time `json:"at" db:"at"`
	Turns    int       `json:"turns" db:"turns"`
	WholeP50 int       `json:"whole_p50_ms" db:"whole_p50"`
	WholeP95 int       `json:"whole_p95_ms" db:"whole_p95"`
	OwnP95   int       `json:"own_p95_ms" db:"own_p95"`
}

// StageOutcome counts the turns that ended in one way: model, quote, unknown, hand_over, superseded, cancelled, or the reason of a failure.
type StageOutcome struct {
	Outcome string `json:"outcome" db:"outcome"`
	Turns   int    `json:"turns" db:"turns"`
}

// turnsSQL are the turns since $1 as channel, at, and the stages' milliseconds. A turn without a first sentence has no times.
const turnsSQL = `with turns as (
		select 'voice' as channel, t.at, array['turn_end', 'final_text', 'stored', 'first_token', 'first_sentence', 'first_audio', 'whole', 'own'] as stages,
			array[turn_end_ms, greatest(final_text_ms - turn_end_ms, 0), greatest(stored_ms - final_text_ms, 0), greatest(first_token_ms - stored_ms, 0),
				greatest(first_sentence_ms - first_token_ms, 0), greatest(first_audio_ms - first_sentence_ms, 0), first_audio_ms, own_ms] as ms,
			first_audio_ms as whole, own_ms as own
		from call_turns t where t.at >= $1
		union all
		select a.channel, a.at, array['own', 'waited', 'first_token', 'first_sentence', 'whole'],
			array[own_ms, waited_ms, greatest(coalesce(first_token_ms, first_sentence_ms) - own_ms - waited_ms, 0),
				greatest(first_sentence_ms - coalesce(first_token_ms, first_sentence_ms), 0), first_sentence_ms],
			first_sentence_ms, own_ms
		from answer_times a where a.at >= $1 and a.channel <> 'voice' and a.first_sentence_ms is not null) `

const percentiles = `round(percentile_cont(0.5) within group (order by s.took))::int as p50, round(percentile_cont(0.95) within group (order by s.took))::int as p95`

// Stages tells how long answers took since then, by channel, stage and hour.
func Stages(ctx context.Context, q channels.Querier, since time.Time) ([]ChannelStages, error) {
	stages, err := rows[struct {
		Channel channels.Kind `db:"channel"`
		Turns   int           `db:"turns"`
		Stage
	}](ctx, q, "stages", turnsSQL+`select channel, count(*)::int as turns, s.stage, `+percentiles+`
		from turns, unnest(stages, ms) with ordinality as s (stage, took, place) group by channel, s.stage order by channel, min(place)`, since)
	if err != nil {
		return nil, err
	}
	hours, err := rows[struct {
		Channel channels.Kind `db:"channel"`
		StageHour
	}](ctx, q, "stages by hour", turnsSQL+`select channel, date_trunc('hour', at) as at, count(*)::int as turns,
			round(percentile_cont(0.5) within group (order by whole))::int as whole_p50, round(percentile_cont(0.95) within group (order by whole))::int as whole_p95,
			round(percentile_cont(0.95) within group (order by own))::int as own_p95
		from turns group by 1, 2 order by 1, 2`, since)
	if err != nil {
		return nil, err
	}
	outcomes, err := rows[struct {
		Channel channels.Kind `db:"channel"`
		StageOutcome
	}](ctx, q, "outcomes", `select channel, outcome, count(*)::int as turns from answer_times where at >= $1 group by 1, 2 order by 1, 3 desc, 2`, since)
	if err != nil {
		return nil, err
	}
	out := []ChannelStages{}
	of := func(c channels.Kind) *ChannelStages {
		for i := range out {
			if out[i].Channel == c {
				return &out[i]
			}
		}
		out = append(out, ChannelStages{Channel: c, Stages: []Stage{}, Hours: []StageHour{}, Outcomes: []StageOutcome{}})
		return &out[len(out)-1]
	}
	for _, s := range stages {
		c := of(s.Channel)
		c.Turns, c.Stages = s.Turns, append(c.Stages, s.Stage)
	}
	for _, h := range hours {
		c := of(h.Channel)
		c.Hours = append(c.Hours, h.StageHour)
	}
	for _, o := range outcomes {
		c := of(o.Channel)
		c.Outcomes = append(c.Outcomes, o.StageOutcome)
	}
	order := []channels.Kind{channels.Voice, channels.Chat, channels.Email}
	slices.SortFunc(out, func(a, b ChannelStages) int { return slices.Index(order, a.Channel) - slices.Index(order, b.Channel) })
	return out, nil
}

// CallTurns are the turns of a call in their order.
func CallTurns(ctx context.Context, q channels.Querier, callID int64) ([]channels.TurnTimes, error) {
	return rows[channels.TurnTimes](ctx, q, "call's turns", `select at, turn_end_ms, final_text_ms, stored_ms, first_token_ms, first_sentence_ms,
		first_audio_ms, own_ms, cut from call_turns where call_id = $1 order by at, id`, callID)
}

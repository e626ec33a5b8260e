package api

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"patchbay/channels"
	"patchbay/channels/voice/media"
	"patchbay/server/bus"
	"patchbay/server/report"
)

// The telephone's settings: trunks, numbers, desk telephones, sounds. What each may hold is decided in channels; here
// stand who may and who has. Every change is one line in the log, with who and what but without any value: a value may
// be a secret, or somebody's number.

// settle does a change of telephone settings in one transaction, tells every node, and writes down who did it.
func (s *Server) settle(ctx context.Context, act string, change func(tx pgx.Tx) (about []any, err error)) error {
	var about []any
	err := pgx.BeginFunc(ctx, s.cfg.Pool, func(tx pgx.Tx) (err error) {
		about, err = change(tx)
		return err
	})
	if err != nil {
		return err
	}
	s.log.Info("telephone settings changed", append([]any{"act", act, "agent", who(ctx).AgentID, "peer", peerOf(ctx)}, about...)...)
	// It is done; who misses the news reads it with the next.
	if err := s.cfg.Bus.Publish(channels.TrunkSubject, nil); err != nil {
		s.log.Warn("telephone settings not announced", "act", act, "err", err)
	}
	return nil
}

// differing names the settings, as JSON calls them, in which two rows differ.
func differing[T any](old, now T) string {
	var names []string
	a, b := reflect.ValueOf(old), reflect.ValueOf(now)
	for i := range a.NumField() {
		name := a.Type().Field(i).Tag.Get("json")
		if name != "changed_at" && !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

func (s *Server) ListTrunks(ctx context.Context, _ ListTrunksRequestObject) (ListTrunksResponseObject, error) {
	trunks, err := channels.Trunks(ctx, s.cfg.Pool)
	if err != nil {
		return nil, err
	}
	states, err := channels.TrunkStates(ctx, s.cfg.Pool)
	if err != nil {
		return nil, err
	}
	return ListTrunks200JSONResponse{Trunks: trunks, States: states, Defaults: channels.NewTrunk()}, nil
}

func (s *Server) AddTrunk(ctx context.Context, req AddTrunkRequestObject) (AddTrunkResponseObject, error) {
	t := *req.Body
	t.ID = 0
	err := s.settle(ctx, "add trunk", func(tx pgx.Tx) ([]any, error) {
		err := channels.SaveTrunk(ctx, tx, &t)
		return []any{"trunk", t.ID}, err
	})
	return AddTrunk200JSONResponse(t), err
}

func (s *Server) ChangeTrunk(ctx context.Context, req ChangeTrunkRequestObject) (ChangeTrunkResponseObject, error) {
	t := *req.Body
	t.ID = req.ID
	err := s.settle(ctx, "change trunk", func(tx pgx.Tx) ([]any, error) {
		old, err := channels.GetTrunk(ctx, tx, t.ID)
		if err != nil {
			return nil, err
		}
		err = channels.SaveTrunk(ctx, tx, &t)
		return []any{"trunk", t.ID, "fields", differing(*old, t)}, err
	})
	return ChangeTrunk200JSONResponse(t), err
}

func (s *Server) DeleteTrunk(ctx context.Context, req DeleteTrunkRequestObject) (DeleteTrunkResponseObject, error) {
	return DeleteTrunk204Response{}, s.settle(ctx, "delete trunk", func(tx pgx.Tx) ([]any, error) {
		return []any{"trunk", req.ID}, channels.DeleteTrunk(ctx, tx, req.ID)
	})
}

// askTrunkFor is how long a test may take: longer than voice waits for the servers' answers.
const askTrunkFor = 8 * time.Second

// TestTrunk asks every node, since each has its own way to the trunk.
func (s *Server) TestTrunk(ctx context.Context, req TestTrunkRequestObject) (TestTrunkResponseObject, error) {
	if _, err := channels.GetTrunk(ctx, s.cfg.Pool, req.ID); err != nil {
		return nil, err
	}
	nodes, err := report.LivingNodes(ctx, s.cfg.Pool)
	if err != nil {
		return nil, err
	}
	s.log.Info("trunk tested", "trunk", req.ID, "agent", who(ctx).AgentID, "peer", peerOf(ctx))
	states := make([]channels.TrunkState, len(nodes))
	var asking errgroup.Group
	for i, node := range nodes {
		asking.Go(func() error {
			states[i] = s.askTrunk(ctx, node.ID, req.ID)
			states[i].TrunkID, states[i].NodeID, states[i].NodeName = req.ID, node.ID, node.Name
			return nil
		})
	}
	return TestTrunk200JSONResponse(states), asking.Wait()
}

func (s *Server) askTrunk(ctx context.Context, nodeID string, trunkID int64) channels.TrunkState {
	ctx, cancel := context.WithTimeout(ctx, askTrunkFor)
	defer cancel()
	var reply channels.CallReply
	err := s.cfg.Bus.Request(ctx, channels.VoiceSubject(nodeID), channels.VoiceRequest{Type: "trunk_test", TrunkID: trunkID}, &reply)
	now := time.Now().UTC()
	failed := channels.TrunkState{ChangedAt: now, SeenAt: now}
	switch {
	case errors.Is(err, bus.ErrNoOwner):
		failed.Error = "This server has no telephone line."
	case err != nil:
		failed.Error = s.explain(err, "trunk", trunkID, "node", nodeID).Text
	case reply.Error != nil:
		failed.Error = reply.Error.Text
	case reply.Trunk == nil:
		failed.Error = "This server cannot test trunks."
	default:
		return *reply.Trunk
	}
	return failed
}

func (s *Server) ListAlarms(ctx context.Context, _ ListAlarmsRequestObject) (ListAlarmsResponseObject, error) {
	list, err := channels.TrunkAlarms(ctx, s.cfg.Pool)
	return ListAlarms200JSONResponse(list), err
}

func (s *Server) SeeAlarm(ctx context.Context, req SeeAlarmRequestObject) (SeeAlarmResponseObject, error) {
	if err := channels.SeeAlarm(ctx, s.cfg.Pool, req.ID, who(ctx).AgentID); err != nil {
		return nil, err
	}
	s.log.Info("trunk alarm seen", "alarm", req.ID, "agent", who(ctx).AgentID, "peer", peerOf(ctx))
	if err := s.cfg.Bus.Publish(channels.TrunkAlarmSubject, nil); err != nil {
		s.log.Warn("trunk alarm not announced", "err", err)
	}
	return SeeAlarm204Response{}, nil
}

func (s *Server) ListNumbers(ctx context.Context, _ ListNumbersRequestObject) (ListNumbersResponseObject, error) {
	list, err := channels.Numbers(ctx, s.cfg.Pool)
	return ListNumbers200JSONResponse(list), err
}

func (s *Server) SaveNumber(ctx context.Context, req SaveNumberRequestObject) (SaveNumberResponseObject, error) {
	n := *req.Body
	n.Number = req.Number
	err := s.settle(ctx, "save number", func(tx pgx.Tx) ([]any, error) {
		err := channels.SaveNumber(ctx, tx, &n)
		return []any{"number", n.Number}, err
	})
	return SaveNumber200JSONResponse(n), err
}

func (s *Server) DeleteNumber(ctx context.Context, req DeleteNumberRequestObject) (DeleteNumberResponseObject, error) {
	return DeleteNumber204Response{}, s.settle(ctx, "delete number", func(tx pgx.Tx) ([]any, error) {
		return []any{"number", channels.CleanPhone(req.Number)}, channels.DeleteNumber(ctx, tx, req.Number)
	})
}

func (s *Server) ListDevices(ctx context.Context, _ ListDevicesRequestObject) (ListDevicesResponseObject, error) {
	devices, err := channels.Devices(ctx, s.cfg.Pool)
	if err != nil {
		return nil, err
	}
	registrations, err := channels.Registrations(ctx, s.cfg.Pool, 0)
	return ListDevices200JSONResponse{Devices: devices, Registrations: registrations}, err
}

func (s *Server) AddDevice(ctx context.Context, req AddDeviceRequestObject) (AddDeviceResponseObject, error) {
	d, password := *req.Body, ""
	err := s.settle(ctx, "add device", func(tx pgx.Tx) (_ []any, err error) {
		password, err = channels.AddDevice(ctx, tx, &d)
		return []any{"device", d.ID, "of", d.AgentID}, err
	})
	return AddDevice200JSONResponse{Device: d, Password: password}, err
}

func (s *Server) ChangeDevice(ctx context.Context, req ChangeDeviceRequestObject) (ChangeDeviceResponseObject, error) {
	d := *req.Body
	d.ID = req.ID
	err := s.settle(ctx, "change device", func(tx pgx.Tx) ([]any, error) {
		err := channels.ChangeDevice(ctx, tx, &d)
		return []any{"device", d.ID, "of", d.AgentID, "enabled", d.Enabled}, err
	})
	return ChangeDevice200JSONResponse(d), err
}

func (s *Server) ResetDevice(ctx context.Context, req ResetDeviceRequestObject) (ResetDeviceResponseObject, error) {
	var answer DevicePassword
	err := s.settle(ctx, "reset device", func(tx pgx.Tx) ([]any, error) {
		d, password, err := channels.ResetDevice(ctx, tx, req.ID)
		if err != nil {
			return nil, err
		}
		answer = DevicePassword{Device: *d, Password: password}
		return []any{"device", d.ID, "of", d.AgentID}, nil
	})
	return ResetDevice200JSONResponse(answer), err
}

func (s *Server) DeleteDevice(ctx context.Context, req DeleteDeviceRequestObject) (DeleteDeviceResponseObject, error) {
	return DeleteDevice204Response{}, s.settle(ctx, "delete device", func(tx pgx.Tx) ([]any, error) {
		return []any{"device", req.ID}, channels.DeleteDevice(ctx, tx, req.ID)
	})
}

func (s *Server) ListPrompts(ctx context.Context, _ ListPromptsRequestObject) (ListPromptsResponseObject, error) {
	list, err := channels.Prompts(ctx, s.cfg.Pool)
	return ListPrompts200JSONResponse(list), err
}

// AddPrompt stores an uploaded file as telephones hear it.
func (s *Server) AddPrompt(ctx context.Context, req AddPromptRequestObject) (AddPromptResponseObject, error) {
	id := who(ctx).AgentID
	p := channels.Prompt{Name: req.Params.Name, Kind: string(req.Params.Kind), UploadedBy: &id}
	if err := p.Clean(); err != nil {
		return nil, err // before the work
	}
	wav, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, fmt.Errorf("read sound: %w", err)
	}
	if len(wav) > fileLimit {
		return nil, channels.FailField(channels.TooLarge, "sound", fmt.Sprintf("The file has %d MB; at most 10 were expected.", len(wav)>>20))
	}
	samples, err := media.TelephoneSound(wav)
	if err != nil {
		return nil, channels.FailField(channels.Invalid, "sound", "The file is "+err.Error()+".")
	}
	sound := make([]byte, 2*len(samples))
	for i, s := range samples {
		binary.LittleEndian.PutUint16(sound[2*i:], uint16(s))
	}
	err = s.settle(ctx, "add sound", func(tx pgx.Tx) ([]any, error) {
		err := channels.AddPrompt(ctx, tx, &p, sound)
		return []any{"sound", p.ID, "seconds", p.Seconds}, err
	})
	return AddPrompt200JSONResponse(p), err
}

func (s *Server) DeletePrompt(ctx context.Context, req DeletePromptRequestObject) (DeletePromptResponseObject, error) {
	return DeletePrompt204Response{}, s.settle(ctx, "delete sound", func(tx pgx.Tx) ([]any, error) {
		return []any{"sound", req.ID}, channels.DeletePrompt(ctx, tx, req.ID)
	})
}

func (s *Server) GetPromptSound(ctx context.Context, req GetPromptSoundRequestObject) (GetPromptSoundResponseObject, error) {
	sound, err := channels.PromptSound(ctx, s.cfg.Pool, req.ID)
	if err != nil {
		return nil, err
	}
	w := media.WAV{Rate: media.Rate, Channels: 1, Samples: make([]int16, len(sound)/2)}
	for i := range w.Samples {
		w.Samples[i] = int16(binary.LittleEndian.Uint16(sound[2*i:]))
	}
	file := w.Encode()
	return GetPromptSound200AudioWavResponse{Body: bytes.NewReader(file), ContentLength: int64(len(file))}, nil
}

func (s *Server) ListQueueSounds(ctx context.Context, _ ListQueueSoundsRequestObject) (ListQueueSoundsResponseObject, error) {
	list, err := channels.QueueSounds(ctx, s.cfg.Pool)
	return ListQueueSounds200JSONResponse(list), err
}

func (s *Server) SaveQueueSound(ctx context.Context, req SaveQueueSoundRequestObject) (SaveQueueSoundResponseObject, error) {
	q := *req.Body
	q.QueueID = req.ID
	err := s.settle(ctx, "change queue", func(tx pgx.Tx) ([]any, error) {
		err := channels.SaveQueueSound(ctx, tx, &q)
		return []any{"queue", q.QueueID, "record", q.Record, "announce", q.RecordAnnounce}, err
	})
	return SaveQueueSound200JSONResponse(q), err
}

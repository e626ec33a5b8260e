package api

import (
	"context"
	"fmt"
	"io"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/server/report"
)

// Recordings: who may hear one, its bytes, and its end. Each hearing and each deletion is a line in the log.

// Recordings are what is done with them: the verbs of archive.Archive.
type Recordings struct {
	// Sound reads n bytes of a recording's file from an offset on, also after the request's handler has returned.
	Sound func(ctx context.Context, id, from, n int64) (io.ReadCloser, error)
	// Delete takes it away for good; by is named in the timeline.
	Delete func(ctx context.Context, id int64, by string) error
}

func (s *Server) GetRecording(ctx context.Context, req GetRecordingRequestObject) (GetRecordingResponseObject, error) {
	r, err := report.RecordingFor(ctx, s.cfg.Pool, who(ctx).AgentID, req.ID)
	if err != nil {
		return nil, err
	}
	return GetRecording200JSONResponse(*r), nil
}

func (s *Server) DeleteRecording(ctx context.Context, req DeleteRecordingRequestObject) (DeleteRecordingResponseObject, error) {
	if s.cfg.Recordings.Delete == nil {
		return nil, errNoPhone
	}
	name, err := agents.Name(ctx, s.cfg.Pool, who(ctx).AgentID)
	if err != nil {
		return nil, err
	}
	if err := s.cfg.Recordings.Delete(ctx, req.ID, name); err != nil {
		return nil, err
	}
	s.log.Info("recording deleted", "recording", req.ID, "agent", who(ctx).AgentID, "peer", peerOf(ctx))
	return DeleteRecording204Response{}, nil
}

// GetRecordingSound gives the file, or the part of it that a player asks for.
func (s *Server) GetRecordingSound(ctx context.Context, req GetRecordingSoundRequestObject) (GetRecordingSoundResponseObject, error) {
	r, err := report.RecordingFor(ctx, s.cfg.Pool, who(ctx).AgentID, req.ID)
	if err != nil {
		return nil, err
	}
	if r.Recording.State != "done" && r.Recording.State != "recovered" {
		return nil, channels.Fail(channels.NotFound, "This recording cannot be played.")
	}
	if s.cfg.Recordings.Sound == nil {
		return nil, errNoPhone
	}
	part := soundPart{size: r.Bytes, last: r.Bytes - 1, tag: `"` + r.SHA256 + `"`}
	if asked := text(req.Params.Range); asked != "" {
		first, last, err := fasthttp.ParseByteRange([]byte(asked), int(r.Bytes))
		if err != nil {
			return noSuchPart(r.Bytes), nil
		}
		part.ranged, part.first, part.last = true, int64(first), int64(last)
	}
	if part.first == 0 {
		s.log.Info("recording heard", "recording", req.ID, "agent", who(ctx).AgentID, "peer", peerOf(ctx))
	}
	if part.body, err = s.cfg.Recordings.Sound(ctx, req.ID, part.first, part.last-part.first+1); err != nil {
		return nil, err
	}
	return part, nil
}

// soundPart is an answer with a file, or with a part of it (RFC 9110 section 14).
type soundPart struct {
	body        io.ReadCloser
	first, last int64
	size        int64
	ranged      bool
	tag         string
}

// VisitGetRecordingSoundResponse hands the body to fasthttp, which reads and closes it after the handler.
func (p soundPart) VisitGetRecordingSoundResponse(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentType, "audio/wav")
	c.Set(fiber.HeaderAcceptRanges, "bytes")
	c.Set(fiber.HeaderETag, p.tag)
	if p.ranged {
		c.Status(fiber.StatusPartialContent)
		c.Set(fiber.HeaderContentRange, fmt.Sprintf("bytes %d-%d/%d", p.first, p.last, p.size))
	}
	c.Context().SetBodyStream(p.body, int(p.last-p.first+1))
	return nil
}

// noSuchPart says how long the file is.
type noSuchPart int64

func (size noSuchPart) VisitGetRecordingSoundResponse(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentRange, fmt.Sprintf("bytes */%d", int64(size)))
	return c.SendStatus(fiber.StatusRequestedRangeNotSatisfiable)
}

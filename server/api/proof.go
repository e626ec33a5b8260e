package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"patchbay/channels"
	"patchbay/server/report"
)

// The proof, for supervisors: the page, what is late now, and a month's files.

// Reports is what signs a month's report.
type Reports struct {
	Key        *report.Key // nil: reports are not signed
	Company    string
	Unmeasured []report.Unmeasured // channels without a synthetic customer
}

func (s *Server) GetProof(ctx context.Context, req GetProofRequestObject) (GetProofResponseObject, error) {
	to := time.Now().UTC()
	from := to.AddDate(0, 0, -1)
	switch p := req.Params; {
	case p.Days != nil && p.Month != nil:
		return nil, channels.FailField(channels.Invalid, "month", "Days or a month, not both.")
	case p.Days != nil:
		from = to.AddDate(0, 0, -*p.Days)
	case p.Month != nil:
		var err error
		if from, to, err = report.Month(*p.Month); err != nil {
			return nil, badMonth()
		}
	}
	proof, err := s.proof(ctx, from, to)
	if err != nil {
		return nil, err
	}
	return GetProof200JSONResponse(*proof), nil
}

func badMonth() error {
	return channels.FailField(channels.Invalid, "month", "A month is written like 2026-11.")
}

func (s *Server) ListLatePromises(ctx context.Context, _ ListLatePromisesRequestObject) (ListLatePromisesResponseObject, error) {
	list, err := report.Late(ctx, s.cfg.Pool)
	return ListLatePromises200JSONResponse(list), err
}

func (s *Server) ListPromiseAlarms(ctx context.Context, _ ListPromiseAlarmsRequestObject) (ListPromiseAlarmsResponseObject, error) {
	list, err := report.Alarms(ctx, s.cfg.Pool)
	return ListPromiseAlarms200JSONResponse(list), err
}

var errNoKey = errors.New("api: no key signs reports")

func (s *Server) GetProofKey(context.Context, GetProofKeyRequestObject) (GetProofKeyResponseObject, error) {
	if s.cfg.Reports.Key == nil {
		return nil, errNoKey
	}
	return GetProofKey200JSONResponse{PublicKey: s.cfg.Reports.Key.Public()}, nil
}

func (s *Server) month(ctx context.Context, text string) (*report.Proof, error) {
	from, to, err := report.Month(text)
	if err != nil {
		return nil, badMonth()
	}
	return s.proof(ctx, from, to)
}

func (s *Server) proof(ctx context.Context, from, to time.Time) (*report.Proof, error) {
	p, err := report.ReadProof(ctx, s.cfg.Pool, from, to)
	if err == nil {
		p.Unmeasured = append(p.Unmeasured, s.cfg.Reports.Unmeasured...)
	}
	return p, err
}

func (s *Server) GetProofCSV(ctx context.Context, req GetProofCSVRequestObject) (GetProofCSVResponseObject, error) {
	p, err := s.month(ctx, req.Month)
	if err != nil {
		return nil, err
	}
	text, err := p.CSV()
	name := fmt.Sprintf(`attachment; filename="proof-%s.csv"`, req.Month)
	return GetProofCSV200TextCsvResponse{Body: bytes.NewReader(text), ContentLength: int64(len(text)), Headers: GetProofCSV200ResponseHeaders{ContentDisposition: &name}}, err
}

func (s *Server) GetProofSigned(ctx context.Context, req GetProofSignedRequestObject) (GetProofSignedResponseObject, error) {
	if s.cfg.Reports.Key == nil {
		return nil, errNoKey
	}
	p, err := s.month(ctx, req.Month)
	if err != nil {
		return nil, err
	}
	text, err := p.JSON(s.cfg.Reports.Key, s.cfg.Reports.Company)
	name := fmt.Sprintf(`attachment; filename="proof-%s.json"`, req.Month)
	return GetProofSigned200ApplicationOctetStreamResponse{Body: bytes.NewReader(text), ContentLength: int64(len(text)), Headers: GetProofSigned200ResponseHeaders{ContentDisposition: &name}}, err
}

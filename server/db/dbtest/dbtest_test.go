package dbtest

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { Main(m) }

func TestEachTestHasItsOwnDatabase(t *testing.T) {
	defer goleak.VerifyNone(t, append(Leaks(), goleak.IgnoreCurrent())...)
	for range 3 {
		t.Run("", func(t *testing.T) {
			pool := Pool(t)
			if _, err := pool.Exec(t.Context(), "insert into queues (name) values ('sales')"); err != nil {
				t.Fatal(err)
			}
			var n int
			if err := pool.QueryRow(t.Context(), "select count(*) from queues").Scan(&n); err != nil || n != 1 {
				t.Fatalf("%d queues, %v; want 1 of my own", n, err)
			}
		})
	}
}

func TestURLIsForAnyProcess(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), URL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var n int
	if err := conn.QueryRow(t.Context(), "select count(*) from conversations").Scan(&n); err != nil {
		t.Fatal(err)
	}
}

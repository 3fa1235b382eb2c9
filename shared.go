package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"vespene-autoscale/internal/sqlread"
)

// shared.go owns what hosts share in PostgreSQL: a pool's lock, and the claim in Vespene's own table that says when the
// pool was last evaluated. All times in it are PostgreSQL's.

const (
	pingEvery   = 5 * time.Second // how often a lock's connection is pinged; also how long a spare one is kept
	pingLimit   = 8 * time.Second // for the answer, beside sqlread's margin
	sharedClass = 0x76736361      // of advisory locks: "vsca"; the pool's id is the other half
)

// sharedLock is a pool's lock that hosts share: an advisory lock of a transaction that stays open while it is held, so
// that PostgreSQL frees it when this process ends or its network is gone.
type sharedLock struct {
	database database
	conn     *sqlread.Conn
	last     time.Time     // when the pool was last evaluated, zero if never
	status   any           // of that evaluation: an int64, or nil for NULL
	ahead    time.Duration // how much PostgreSQL's clock is ahead of ours
	mu       sync.Mutex    // of conn
	stop     chan struct{} // closed to end the pinging
	ended    chan struct{} // closed when the pinging has ended: by stop, or because
	lost     error         // the lock was lost; to be read when ended is closed
}

// lockShared takes the lock of the pool with that id. The error is errBusy if another host holds it.
func (d database) lockShared(ctx context.Context, id int64) (*sharedLock, error) {
	all := []sqlread.Statement{sqlread.NoTransactionLimit}
	// The TCP settings are for the server's side, which has to notice that we are gone.
	for _, setting := range []string{"idle_in_transaction_session_timeout = 0", "tcp_keepalives_idle = 5",
		"tcp_keepalives_interval = 3", "tcp_keepalives_count = 3", "tcp_user_timeout = 14000"} {
		all = append(all, sqlread.Statement{Text: "SET LOCAL " + setting})
	}
	var locked, evaluated sqlread.Rows
	all = append(all, sqlread.Statement{Into: &locked, Args: []any{sharedClass, id},
		Text: "SELECT pg_try_advisory_xact_lock($1, $2)"},
		// A statement of its own, since one that also takes the lock would see the state before the lock.
		sqlread.Statement{Into: &evaluated, Args: []any{id},
			Text: "SELECT last_autoscaled, autoscaling_status, clock_timestamp() FROM worker_pools WHERE id = $1"})
	// READ COMMITTED holds no snapshot, which would keep vacuum from its work for as long as the command runs.
	conn, err := d.postgres.Begin(ctx, "ISOLATION LEVEL READ COMMITTED READ ONLY", statementLimit, all...)
	if err != nil {
		return nil, explainAs("lock", d, err)
	}
	l := &sharedLock{database: d, conn: conn, stop: make(chan struct{}), ended: make(chan struct{})}
	if locked.Values[0][0] != true {
		err = &failure{code: exitBusy, hint: "nothing was run; the next run tries again",
			err: fmt.Errorf("another host holds this pool's lock in PostgreSQL (%w)", errBusy)}
	} else if len(evaluated.Values) == 0 {
		err = explain(d, errors.New("the pool is not there any more"))
	} else {
		row := evaluated.Values[0]
		l.status, l.ahead = row[1], time.Until(row[2].(time.Time))
		l.last, err = d.lastAutoscaled(row[0])
	}
	if err != nil {
		conn.Done(ctx)
		return nil, err
	}
	go l.ping(context.WithoutCancel(ctx))
	return l, nil
}

// ping keeps the connection from looking dead, and notices when it is.
func (l *sharedLock) ping(ctx context.Context) {
	defer close(l.ended)
	for l.lost == nil {
		select {
		case <-l.stop:
			return
		case <-time.After(pingEvery):
			l.lost = l.exec(ctx, "SELECT 1")
		}
	}
}

// exec runs a statement on the lock's connection. An error means that the lock is lost.
func (l *sharedLock) exec(ctx context.Context, statement string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return explainAs("lock", l.database, l.conn.Send(ctx, pingLimit, sqlread.Statement{Text: statement}))
}

// release frees the lock. An error means that it was lost before.
func (l *sharedLock) release(ctx context.Context) error {
	close(l.stop)
	<-l.ended
	err := l.lost
	if err == nil {
		err = l.exec(context.WithoutCancel(ctx), "COMMIT")
	}
	l.conn.Done(ctx)
	return err
}

// claimShared writes that an evaluation of the pool begins now, and returns that time. The error is errBusy if the pool
// was not last evaluated at last (zero: never), so that one of two hosts claims, whatever has become of the lock. There
// is no status until the evaluation ends, since the status of the one before would be taken for its own.
func (d database) claimShared(ctx context.Context, id int64, last time.Time) (now time.Time, err error) {
	return d.update(ctx, `UPDATE worker_pools SET last_autoscaled = clock_timestamp(), autoscaling_status = NULL
		WHERE id = $1 AND last_autoscaled IS NOT DISTINCT FROM $2::timestamptz RETURNING last_autoscaled`, id, last)
}

// unclaimShared takes back a claim with which nothing was run: the pool was last evaluated at last, with that status.
func (d database) unclaimShared(ctx context.Context, id int64, claimed, last time.Time, status any) error {
	_, err := d.update(ctx, `UPDATE worker_pools SET last_autoscaled = $3::timestamptz, autoscaling_status = $4::integer
		WHERE id = $1 AND last_autoscaled = $2 RETURNING clock_timestamp()`, id, claimed, last, status)
	return err
}

// completeShared writes the exit code of the pool's command, and when its interval began. It returns that time as it
// was written. The error is errBusy if another host has claimed the pool since.
func (d database) completeShared(ctx context.Context, id int64, claimed time.Time, exitCode int, began time.Time) (
	last time.Time, err error) {
	return d.update(ctx, `UPDATE worker_pools SET autoscaling_status = $2, last_autoscaled = $3
		WHERE id = $1 AND last_autoscaled = $4 RETURNING last_autoscaled`, id, exitCode, began, claimed)
}

// update runs a statement that changes one row and returns a time, in a transaction of its own. A zero time is NULL.
func (d database) update(ctx context.Context, change string, args ...any) (at time.Time, err error) {
	for i, arg := range args {
		if t, isTime := arg.(time.Time); isTime && t.IsZero() {
			args[i] = nil
		} else if isTime {
			args[i] = t.Format(time.RFC3339Nano)
		}
	}
	var answer sqlread.Rows
	err = d.postgres.Transaction(ctx, "READ WRITE", statementLimit,
		sqlread.Statement{Text: change, Args: args, Into: &answer})
	if err == nil && len(answer.Values) == 0 {
		return at, &failure{code: exitBusy, hint: "the next run sees what has become of it",
			err: fmt.Errorf("another host has begun an evaluation of this pool (%w)", errBusy)}
	} else if err != nil {
		return at, explainAs("write", d, err)
	}
	return d.lastAutoscaled(answer.Values[0][0])
}

// lastAutoscaled returns a value of that column, the zero time for NULL; infinity is an error.
func (d database) lastAutoscaled(value any) (time.Time, error) {
	at, isTime := value.(time.Time)
	if !isTime && value != nil {
		return at, explain(d, fmt.Errorf("last_autoscaled: %v is not a time", value))
	}
	return at, nil
}

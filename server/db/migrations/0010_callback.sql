-- +goose Up

-- A call back is a promise with a number. The conversation stays in line with its place; only the caller's leg is gone.
alter table promises
  add column number         text not null default '', -- E.164; '': the customer waits where they are
  add column appointment_at timestamptz,           -- the customer's choice; null: at their turn
  add column place_since    timestamptz,           -- conversations.waiting_since, which a try must not lose
  add column tries          int not null default 0,
  add column tried_at       timestamptz,
  add column last_try       text not null default '', -- what became of it: busy, did not answer ...
  add column escalated_at   timestamptz,           -- a supervisor was told before it breaks
  add column given_up_at    timestamptz;           -- after the last try: a supervisor decides
create index promises_calls on promises (due_at) where number <> '' and closed_at is null and escalated_at is null;

alter table conversations
  add column not_before timestamptz,               -- a call back is not offered before; infinity: a supervisor decides; null: at its turn
  add column left_at    timestamptz,               -- a caller hung up in line then,
  add column left_since timestamptz;               -- having waited since

alter table queues
  add column call_back         boolean not null default true, -- callers in line are offered one
  add column call_back_tries   int not null default 3 check (call_back_tries between 1 and 10),
  add column call_back_minutes int not null default 10 check (call_back_minutes between 1 and 1440), -- between tries
  add column recall_minutes    int not null default 10 check (recall_minutes between 0 and 120); -- who hung up in line and calls again within it has the place; 0: nobody

alter table alarms drop constraint alarms_kind_check;
alter table alarms add constraint alarms_kind_check check (kind in
  ('promise_broken', 'people_first', 'people_first_over', 'call_back_due', 'call_back_failed'));
alter table queue_overflows drop constraint queue_overflows_action_check;
alter table queue_overflows add constraint queue_overflows_action_check check (action in ('queue', 'skills', 'message', 'callback'));

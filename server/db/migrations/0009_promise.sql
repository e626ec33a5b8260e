-- +goose Up

-- A promise says by itself who is owed what: its figures stand also when its queue or its agent is gone.
alter table promises
  add column contact_id      bigint references contacts on delete cascade,
  add column queue_id        bigint references queues on delete set null,
  add column queue_name      text not null default '',
  add column channel         text not null default '' check (channel in ('', 'voice', 'chat', 'email')),
  add column in_hours        boolean not null default true, -- when it was opened; the target holds in hours
  add column acknowledged_at timestamptz,                   -- the customer was told; of a mail: when it is sent (mails_out)
  add column broken_at       timestamptz,                   -- when we found it broken: overdue, or ended without a word
  add column synthetic       boolean not null default false;
update promises p set contact_id = c.contact_id, queue_id = c.queue_id, queue_name = q.name, channel = c.channel, acknowledged_at = p.opened_at,
    broken_at = case when coalesce(p.closed_at, now()) > p.due_at and p.closed_by <> 'contact' then p.due_at end
  from conversations c join queues q on q.id = c.queue_id where c.id = p.conversation_id;
alter table promises drop constraint promises_closed_by_check;
alter table promises add constraint promises_closed_by_check check (closed_by in ('', 'agent', 'contact', 'broken')); -- broken: ended without a word of a person
create index promises_due on promises (due_at) where closed_at is null and broken_at is null;
create index promises_broken on promises (broken_at) where closed_at is null and broken_at is not null;
create index promises_opened on promises (opened_at);

alter table queues add column promise_share int not null default 95 check (promise_share between 1 and 99); -- per cent kept, in hours
alter table contacts add column synthetic boolean not null default false; -- our own test customer

-- Queues whose people come first for now: too many promises were broken, the responder steps back.
create table people_first (
  queue_id bigint primary key references queues on delete cascade,
  since    timestamptz not null default clock_timestamp(),
  why      text not null
);

-- What supervisors and the web hook must hear of. A row is written with what it tells of, and delivered until it is taken.
create table alarms (
  id              bigint generated always as identity primary key,
  at              timestamptz not null default clock_timestamp(),
  kind            text not null check (kind in ('promise_broken', 'people_first', 'people_first_over')),
  promise_id      bigint references promises on delete cascade,
  conversation_id bigint references conversations on delete cascade,
  queue_name      text not null default '',
  channel         text not null default '',
  words           text not null,
  attempts        int not null default 0,
  next_at         timestamptz not null default clock_timestamp(),
  delivered_at    timestamptz,                     -- taken by the web hook
  given_up_at     timestamptz,
  error           text not null default ''
);
create index alarms_due on alarms (next_at) where delivered_at is null and given_up_at is null;
create index alarms_promise on alarms (promise_id);

-- Whoever deletes a queue, and however: its conversations go to another one with their promises.
-- +goose StatementBegin
create function queue_goes() returns trigger language plpgsql as $$
declare heir bigint;
begin
  select id into heir from queues where id <> old.id order by id limit 1;
  if heir is not null then
    update conversations set queue_id = heir where queue_id = old.id;
  end if;
  update promises p set queue_id = c.queue_id from conversations c where c.id = p.conversation_id and p.queue_id = old.id and p.closed_at is null;
  return old;
end $$;
-- +goose StatementEnd
create trigger queue_goes before delete on queues for each row execute function queue_goes();

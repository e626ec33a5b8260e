-- +goose Up

-- Odd or expensive use of a trunk, for supervisors and administrators (channels.TrunkAlarm). A row stays on the desk until
-- somebody has seen it; what it is about (about) does not raise another one before that, nor within a day.
create table trunk_alarms (
  id       bigint generated always as identity primary key,
  trunk_id bigint not null references trunks on delete cascade,
  agent_id bigint references agents on delete set null, -- who called, where it is about one person
  kind     text not null check (kind in ('used', 'spent', 'night', 'country', 'short')),
  about    text not null default '',                    -- a country's code, an agent, a percentage
  words    text not null,
  at       timestamptz not null default clock_timestamp(),
  seen_at  timestamptz,
  seen_by  bigint references agents on delete set null
);
create unique index trunk_alarms_open on trunk_alarms (trunk_id, kind, about) where seen_at is null;
create index on trunk_alarms (trunk_id, kind, about, at);

-- +goose Up

-- What the next person must know, made by code whenever the conversation comes into line or goes on there
-- (channels.Card). Null: it never waited, or was in line before this release.
alter table conversations add column card jsonb;

-- Whose screen has shown a card: the customer is told "who has read what you said" only then.
create table card_reads (
  conversation_id bigint not null references conversations on delete cascade,
  agent_id        bigint not null references agents on delete cascade,
  seq             bigint not null,                 -- the card's: up to which message it had read
  at              timestamptz not null default clock_timestamp(),
  primary key (conversation_id, agent_id)
);
create index on card_reads (agent_id);

alter table queues
  add column whisper             boolean not null default false, -- the card is spoken into the agent's ear before the caller is through
  add column transcribe          boolean not null default false, -- what caller and agent say is written down
  add column transcribe_announce boolean not null default true;  -- callers are told so before the first person hears them

-- transcript: what was said in a call between people, written down by a machine. Not valid: no old row has another kind, and
-- a large table is not read to prove it.
alter table messages drop constraint messages_kind_check;
alter table messages add constraint messages_kind_check check (kind in ('text', 'note', 'event', 'transcript')) not valid;

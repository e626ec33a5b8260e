-- +goose Up

-- Who has left a message does not stay at the line, and is owed an answer all the same: the conversation keeps its place.
alter table conversations
  add column left_message text not null default '' check (left_message in ('', 'voicemail', 'email')),
  add column reply_to     text not null default ''; -- where answers in writing go, as the customer said: a claim, no address of the contact

-- A voicemail is a recording of the caller alone, and a message of its conversation.
alter table recordings
  add column kind      text not null default 'call' check (kind in ('call', 'voicemail')),
  add column handed_at timestamptz;                -- of a voicemail: the timeline has it, or says why there is none
create index recordings_unhanded on recordings (node_id) where kind = 'voicemail' and handed_at is null;
-- Not valid, as in 0005: no old row has another kind.
alter table messages drop constraint messages_kind_check;
alter table messages add constraint messages_kind_check check (kind in ('text', 'note', 'event', 'transcript', 'voicemail')) not valid;

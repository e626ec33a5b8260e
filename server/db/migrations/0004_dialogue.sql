-- +goose Up

-- When the stages of each turn of a call came, in milliseconds since the caller's last sound (channels.TurnTimes).
create table call_turns (
	id                bigint generated always as identity primary key,
	call_id           bigint not null references calls (id) on delete cascade,
	seq               bigint not null, -- of the answer's message in the conversation
	at                timestamptz not null, -- the end of the caller's words
	turn_end_ms       int not null check (turn_end_ms >= 0),
	final_text_ms     int not null check (final_text_ms >= 0),
	stored_ms         int not null check (stored_ms >= 0),
	first_token_ms    int not null check (first_token_ms >= 0),
	first_sentence_ms int not null check (first_sentence_ms >= 0),
	first_audio_ms    int not null check (first_audio_ms >= 0),
	own_ms            int not null check (own_ms >= 0),
	cut               boolean not null
);
create index call_turns_by_call on call_turns (call_id);
create index call_turns_by_time on call_turns (at);

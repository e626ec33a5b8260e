-- +goose Up

-- When the responder's answers came, by turn, in milliseconds since it was asked; null: it did not come. What a caller heard
-- of them stands in call_turns.
create table answer_times (
	id                bigint generated always as identity primary key,
	conversation_id   bigint not null references conversations (id) on delete cascade,
	channel           text not null,
	at                timestamptz not null default now(),
	model             text not null, -- '' = none was asked
	outcome           text not null, -- model, quote, unknown, hand_over, superseded, or a failure's reason: busy, slow, dead ...
	own_ms            int not null check (own_ms >= 0),    -- the search, before a place was asked for
	waited_ms         int not null check (waited_ms >= 0), -- for the place
	first_token_ms    int check (first_token_ms >= 0),
	first_sentence_ms int check (first_sentence_ms >= 0)
);
create index answer_times_by_time on answer_times (at);
create index answer_times_by_conversation on answer_times (conversation_id);

-- In which languages the responder talks with callers of a number: the first is the greeting's, the others are offered by
-- key and recognised by the first sentence. Empty: the settings' one.
alter table numbers add column languages text[] not null default '{}' check (cardinality(languages) <= 8);

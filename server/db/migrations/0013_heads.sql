-- +goose Up

-- A routing decision must not grow with the line's length. It reads the first few of each queue and channel by a walk along
-- conversations_line, and three things kept it from that:
--
-- 1. The index of all open conversations by state. A line of thousands comes within minutes, statistics are renewed by the
--    minute at best, and a planner to whom nobody waits yet read everybody who waits, once for each queue and channel. It is divided:
--    who waits is found by conversations_line and by nothing else. What asks for the waiting and others names them apart
--    (state = 'waiting' or state = 'offered'), as an index serves each half.
-- 2. Transfers were looked for among those who wait. Now they are looked for by the agent alone: whoever leaves the line has no
--    wanted_agent_id and passed_by_id any more (channels.moveSQL).
-- 3. Calls promised for later. They keep their place by their time, so the walk led through all of them. Now they stand behind,
--    and those whose time has come are found by it.
create index conversations_at_work on conversations (state) where state <> 'closed' and state <> 'waiting';
drop index conversations_open;
drop index conversations_line;
create index conversations_line on conversations (queue_id, channel, (not_before is null), front desc, return_call desc, waiting_since, id) where state = 'waiting';
create index conversations_later on conversations (queue_id, channel, not_before) where state = 'waiting' and not_before is not null;
drop index conversations_wanted_agent_id_idx;
drop index conversations_passed_by_id_idx;
create index conversations_wanted on conversations (wanted_agent_id) where wanted_agent_id is not null;
create index conversations_passed_by on conversations (passed_by_id) where passed_by_id is not null;

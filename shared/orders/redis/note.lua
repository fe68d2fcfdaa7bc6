-- Adds a step to an order's timeline, unless it is the last one there. It changes neither status nor trouble.
--
-- KEYS  1 order:{id}  2 orders:log
-- ARGV  1 step  2 reason  3 attempts  4 '1' to leave decided orders alone  5 content fingerprint
--       6 order id  7 who did it
-- Returns {trouble, length of the timeline}, or {'', 0} where the order has no record or is another one that was
-- accepted under the same id. A decided order is in no trouble.

local log = KEYS[2]
local known = redis.call('HMGET', KEYS[1], 'status', 'timeline', 'fingerprint', 'decided_at', 'trouble')
local status, timeline, decided_at = known[1], known[2] or '', known[4]
if not status or (known[3] and known[3] ~= ARGV[5]) then return {'', 0} end
local trouble = not decided_at and trouble_of(status, known[5]) or ''
if (decided_at or status == CANCELLED) and ARGV[4] == '1' then return {trouble, #timeline} end

redis.call('XLEN', log)
local last = string.match(timeline, '[^\n]*$')
if string.match(last, '^%d+\t([^\t]*)') ~= ARGV[1] then
  timeline = with_step(timeline, time_now(), ARGV[1], ARGV[2], ARGV[3], ARGV[7])
  redis.call('HSET', KEYS[1], 'timeline', timeline)
end
enter(log, ARGV[6], timeline, steps_in(timeline) - 1)
return {trouble, #timeline}

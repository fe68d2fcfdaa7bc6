-- Adds a step to an order's timeline, unless it is the last one there. It changes no status.
--
-- KEYS  1 order:{id}
-- ARGV  1 step  2 reason  3 attempts  4 '1' to leave decided orders alone  5 content fingerprint
-- Returns {status, length of the timeline}, or {'', 0} where the order has no record or is another one that was accepted
-- under the same id.

local known = redis.call('HMGET', KEYS[1], 'status', 'timeline', 'fingerprint')
local status, timeline = known[1], known[2] or ''
if not status or (known[3] and known[3] ~= ARGV[5]) then return {'', 0} end
local is_decided = status == 'created' or status == 'rejected'
if is_decided and ARGV[4] == '1' then return {status, #timeline} end

local last = string.match(timeline, '[^\n]*$')
if string.match(last, '^%d+\t([^\t]*)') ~= ARGV[1] then
  local clock = redis.call('TIME')
  local now = clock[1] .. string.format('%06d', clock[2])
  local before = timeline == '' and '' or timeline .. '\n'
  timeline = before .. now .. '\t' .. ARGV[1] .. '\t' .. ARGV[2] .. '\t' .. ARGV[3]
  redis.call('HSET', KEYS[1], 'timeline', timeline)
end
return {status, #timeline}

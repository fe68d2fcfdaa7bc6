-- Shuts a slot in the cell that gives it up, or opens it in the one that has taken it over: then what waits for its
-- decision, or for its customer to be told of it, goes into the outbox. What an earlier move says is refused.
--
-- KEYS  1 cell.slots  2 orders:accepted  3 notifications.untold  4 outbox
-- ARGV  1 slot  2 epoch  3 'open' or 'shut'  4 what stands before the id in a record's key
-- Returns 1, or 0 where a later move has begun.

local epoch, is_open = held(ARGV[1])
if epoch > tonumber(ARGV[2]) then return 0 end
if epoch == tonumber(ARGV[2]) and is_open then return 1 end

local function publish(order_id)
  local known = redis.call('HMGET', ARGV[4] .. order_id, 'customer', 'accepted_at')
  if known[1] and slot_of(known[1]) == tonumber(ARGV[1]) then redis.call('ZADD', KEYS[4], known[2], order_id) end
end

redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
if ARGV[3] == 'open' then
  for _, order_id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do publish(order_id) end
  for _, event_id in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do publish(string.match(event_id, '^(.*):')) end
end
return 1

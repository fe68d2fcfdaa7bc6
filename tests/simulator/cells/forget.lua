-- Forgets an order that another cell has taken over, with all that came along. The note that its slot is shut stays,
-- so that no late message brings it back.
--
-- KEYS  1 cell.slots  2 order:{id}  3 orders:customer:{id}  4 idemp:{id}  5 idempkey:{customer}:{key}, without a key
--       order:{id}  6 stock.reserved  7 stock.supplied  8 notifications.untold  9 moves  10… whatever lists it
-- ARGV  1 slot  2 epoch  3 order id, then three lists, each after its length: as adopt.lua has them
-- Returns 1, or 0 where a later move has begun.

local epoch, is_open = held(ARGV[1])
if epoch ~= tonumber(ARGV[2]) or is_open then return 0 end
if redis.call('DEL', KEYS[2]) == 0 then return 1 end
local pieces, untold, moves = lists(4, 3)
for i = 1, #pieces, 2 do
  redis.call('HINCRBY', KEYS[6], pieces[i], -pieces[i + 1])
  redis.call('HINCRBY', KEYS[7], pieces[i], -pieces[i + 1])
end
redis.call('ZREM', KEYS[3], ARGV[3])
redis.call('DEL', KEYS[4], KEYS[5])
for _, each in ipairs(untold) do redis.call('ZREM', KEYS[8], each) end
for _, each in ipairs(moves) do redis.call('ZREM', KEYS[9], each) end
for i = 10, #KEYS do redis.call('ZREM', KEYS[i], ARGV[3]) end
return 1

-- Takes an order over from the cell that has shut its slot: once, and never into a slot that is open already. With
-- it come the pieces that it has reserved, in both books, and what is yet to be announced or told of it.
--
-- KEYS  1 cell.slots  2 order:{id}  3 orders:customer:{id}  4 idemp:{id}  5 idempkey:{customer}:{key}, without a key
--       order:{id}  6 stock.reserved  7 stock.supplied  8 notifications.untold  9 moves  10 orders:log
--       11 orders:{status}
-- ARGV  1 slot  2 epoch  3 order id  4 accepted at  5 claim TTL, seconds, then five lists, each after its length:
--       (sku, qty) of pieces, ids of events that are untold, moves that are unannounced, fields of the key, of the record
-- Returns 1, or 0 where the slot is open by now or a later move has begun.

local epoch, is_open = held(ARGV[1])
if epoch > tonumber(ARGV[2]) or (epoch == tonumber(ARGV[2]) and is_open) then return 0 end
if redis.call('EXISTS', KEYS[2]) == 1 then return 1 end

local pieces, untold, moves, key, record = lists(6, 5)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' shut')
redis.call('HSET', KEYS[2], unpack(record))
if #key > 0 then redis.call('HSET', KEYS[5], unpack(key)) end
for i = 1, #pieces, 2 do
  redis.call('HINCRBY', KEYS[6], pieces[i], pieces[i + 1])
  redis.call('HINCRBY', KEYS[7], pieces[i], pieces[i + 1])
end
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[3])
redis.call('SET', KEYS[4], 'moved', 'EX', ARGV[5])
for _, each in ipairs(untold) do redis.call('ZADD', KEYS[8], ARGV[4], each) end
for place, each in ipairs(moves) do redis.call('ZADD', KEYS[9], ARGV[4] + place, each) end
enter(KEYS[10], ARGV[3], redis.call('HGET', KEYS[2], 'timeline') or '', 0)
redis.call('ZADD', KEYS[11], ARGV[4], ARGV[3])
return 1

-- Takes an order over from the cell that has shut its slot: once, and never into a slot that is open already.
-- Pieces that it has reserved come with it, in both books.
--
-- KEYS  1 cell.slots  2 order:{id}  3 orders:customer:{id}  4 idemp:{id}  5 idempkey:{customer}:{key}, without a key
--       order:{id}  6 orders:{status}  7 stock.reserved  8 stock.supplied  9 orders:log
-- ARGV  1 slot  2 epoch  3 order id  4 accepted at  5 claim TTL, seconds  6 how many words of the key follow, then
--       as many, then how many of pieces, as many (sku, qty), then the record's fields and values
-- Returns 1, or 0 where the slot is open by now or a later move has begun.

local epoch, is_open = held(ARGV[1])
if epoch > tonumber(ARGV[2]) or (epoch == tonumber(ARGV[2]) and is_open) then return 0 end
if redis.call('EXISTS', KEYS[2]) == 1 then return 1 end

local function words(first)
  local found = {}
  for i = first + 1, first + tonumber(ARGV[first]) do found[#found + 1] = ARGV[i] end
  return found, first + tonumber(ARGV[first]) + 1
end

local key, after_key = words(6)
local pieces, after_pieces = words(after_key)
local record = {}
for i = after_pieces, #ARGV do record[#record + 1] = ARGV[i] end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' shut')
redis.call('HSET', KEYS[2], unpack(record))
if #key > 0 then redis.call('HSET', KEYS[5], unpack(key)) end
for i = 1, #pieces, 2 do
  redis.call('HINCRBY', KEYS[7], pieces[i], pieces[i + 1])
  redis.call('HINCRBY', KEYS[8], pieces[i], pieces[i + 1])
end
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[3])
redis.call('SET', KEYS[4], 'moved', 'EX', ARGV[5])
enter(KEYS[9], ARGV[3], redis.call('HGET', KEYS[2], 'timeline') or '', 0)
redis.call('ZADD', KEYS[6], ARGV[4], ARGV[3])
return 1

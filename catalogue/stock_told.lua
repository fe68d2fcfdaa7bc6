-- Forgets what was told of SKUs. What was taken since then, by another replica, is yet to be told.
--
-- KEYS  1 stock.telling
-- ARGV  sku, when it was taken, for each
-- Returns 1.

local told = {}
for i = 1, #ARGV, 2 do
  local taken = string.match(redis.call('HGET', KEYS[1], ARGV[i]) or '', '^%d+')
  if taken == ARGV[i + 1] then told[#told + 1] = ARGV[i] end
end
if #told > 0 then redis.call('HDEL', KEYS[1], unpack(told)) end
return 1

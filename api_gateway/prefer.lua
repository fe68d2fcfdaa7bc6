-- Notes by which channels a customer wants to be told. Only those that are declined are kept, with since when.
--
-- KEYS  1… declined:{channel}
-- ARGV  1 customer  2… '1' where the customer declines the channel of that key, else '0'
-- Returns 1.

for i = 1, #KEYS do redis.call('ZSCORE', KEYS[i], ARGV[1]) end
local now = time_now()
for i = 1, #KEYS do
  if ARGV[i + 1] == '1' then
    redis.call('ZADD', KEYS[i], 'NX', now, ARGV[1])
  else
    redis.call('ZREM', KEYS[i], ARGV[1])
  end
end
return 1

-- Gives products, and all lists, another generation: what the cache has of them does not hold any more.
--
-- KEYS  generations
-- ARGV  1 a token that was never used  2 how long a generation is kept, milliseconds

for _, generation in ipairs(KEYS) do redis.call('SET', generation, ARGV[1], 'PX', ARGV[2]) end
return 1

-- Reads in one instant what the sum over all orders must agree with.
--
-- KEYS  1 orders.processed.count  2 stock.reserved  3 stock.supplied  4 stock.skus  5 orders.archive
--       6 outbox  7 stock.releases  8… orders:{status}
-- ARGV  1 prefix of the stock entries  2… SKUs that were found by walking through the keys
-- Returns {decided, reserved, supplied, archive, {sku, available, …}, outbox size, index sizes, releases, when that
-- was in microseconds}; hashes are flat lists; what is available of a SKU whose entry is of another type is ''.

local function values(key) return redis.call('HGETALL', key) end

local skus = {}
for _, sku in ipairs(redis.call('SMEMBERS', KEYS[4])) do skus[sku] = true end
for i = 2, #ARGV do skus[ARGV[i]] = true end

local stock = {}
for sku in pairs(skus) do
  local entry = ARGV[1] .. sku
  stock[#stock + 1] = sku
  local kind = redis.call('TYPE', entry)['ok']
  stock[#stock + 1] = kind == 'string' and redis.call('GET', entry) or kind == 'none' and '0' or ''
end

local sizes = {}
for i = 8, #KEYS do sizes[#sizes + 1] = redis.call('ZCARD', KEYS[i]) end
return {redis.call('GET', KEYS[1]) or '0', values(KEYS[2]), values(KEYS[3]), values(KEYS[5]), stock,
  redis.call('ZCARD', KEYS[6]), sizes, redis.call('GET', KEYS[7]) or '0', time_now()}

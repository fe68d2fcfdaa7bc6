-- Records how a sending ended. A notification that went out is 'sent', also where another attempt has the claim by
-- now; giving back a claim that was lost says nothing. No attempt ends the claim of another, and a record that
-- is about another event by now is left alone. What has failed stays failed until it is sent: a claim and its end
-- may both arrive after the message was dead-lettered, and would never be concluded.
-- A claim that is given back remembers an earlier letter whose answer is unknown: only one more may ever go.
--
-- KEYS  1 notif:{event id}  2 notifications:{order id}  3 notifications.counts  4 notifications.untold
--       5 order:{order id}  6 orders:log
-- ARGV  1 owner  2 event id  3 status: sent, failed, sending (the letter was refused and the claim is given back),
--       untried (no letter went, and the attempt does not count), sent:unconfirmed (two letters, no answer), or
--       declined (its customer wants no mail; a letter that is on its way may still make it 'sent')
--       4 error  5 retention, seconds  6 'later' or 'for good' where the refusal came late, 'collected'
--       where the bound on letters to its address holds it back, else empty  7 order id  8 who tells
-- Returns 1 if it was recorded, 0 if others know better.

local claim, record, counts = KEYS[1], KEYS[2], KEYS[3]
local order, log = KEYS[5], KEYS[6]
local status = ARGV[3]
local held = redis.call('GET', claim)
local letters, holder = string.match(held or '', '^unconfirmed:(%d):%d+:(.*)$')
local ours = held == 'sending:' .. ARGV[1] or (holder == ARGV[1] and holder ~= '')
if held == 'sent' or (held == 'declined' and status ~= 'sent') then return 0 end
if held == 'sent:unconfirmed' and status ~= 'sent' then return 0 end
if status == 'sent:unconfirmed' then
  if letters ~= '2' then return 0 end
elseif not ours and status ~= 'sent' and status ~= 'failed' then
  return 0
end

local known = redis.call('HMGET', record, 'event_id', 'status', 'unconfirmed', 'refused', 'last_error', 'channel',
  'told')
redis.call('HLEN', counts)
redis.call('XLEN', log)
local is_kept = redis.call('TYPE', order)['ok'] == 'hash'
local timeline = is_kept and redis.call('HGET', order, 'timeline') or nil
local now = time_now()
local left = 0
if letters then left = status == 'untried' and 1 or tonumber(letters) - 1 end
if status == 'untried' then
  if known[1] == ARGV[2] then redis.call('HINCRBY', record, 'attempts', -1) end
  status = 'sending'
end
-- Its customer waits from when the address may have another letter, which is an hour later at most.
local is_put_off = ARGV[6] == 'collected' and redis.call('ZSCORE', KEYS[4], ARGV[2])
local is_sent = status == 'sent' or status == 'sent:unconfirmed'
local is_over = is_sent or status == 'declined'
-- These two are first, since a full store lets nothing else be first.
if is_over or status == 'failed' then redis.call('ZREM', KEYS[4], ARGV[2]) end
if ours and not is_sent then redis.call('DEL', claim) end
local steps = {failed = 'notification_failed', declined = 'notification_declined'}
local step = is_sent and 'notified' or steps[status]
if step and timeline then
  local what = string.match(ARGV[2], ':(.*)$') .. (known[1] == ARGV[2] and known[6] and ' ' .. known[6] or '')
  if status == 'sent:unconfirmed' then what = what .. ' unconfirmed' end
  local last = string.match(timeline, '[^\n]*$')
  if not string.find(last, '\t' .. step .. '\t' .. what .. '\t', 1, true) then
    timeline = with_step(timeline, now, step, what, '', ARGV[8])
    redis.call('HSET', order, 'timeline', timeline)
  end
  enter(log, ARGV[7], timeline, steps_in(timeline) - 1)
end
if is_put_off then redis.call('ZADD', KEYS[4], string.format('%.0f', now + 3600000000), ARGV[2]) end
if is_over then
  redis.call('SET', claim, status, 'EX', ARGV[5])
elseif ours and left > 0 then
  redis.call('SET', claim, 'unconfirmed:1:0:', 'EX', ARGV[5])
end
local told = known[7] or ''
if is_over and place_of(ARGV[2]) > place_of(told) then told = ARGV[2] end
if known[1] and known[1] ~= ARGV[2] then
  if told ~= (known[7] or '') then redis.call('HSET', record, 'told', told) end
  return 1
end
if ours and not is_over then
  if left > 0 then
    redis.call('HSET', record, 'unconfirmed', left)
  else
    redis.call('HDEL', record, 'unconfirmed', 'unconfirmed_at', 'message_id')
  end
end
if ARGV[6] == 'collected' then
  redis.call('HSET', record, 'collected', now)
elseif ARGV[6] ~= '' then
  redis.call('HSET', record, 'refused', ARGV[6], 'last_error', ARGV[4])
end
if status == 'sending' and known[2] == 'failed' then return 1 end
if status == 'sent' and (known[3] or known[4]) then
  redis.call('HDEL', record, 'unconfirmed', 'unconfirmed_at', 'refused')
end
if is_over and known[5] then redis.call('HDEL', record, 'last_error') end
status = is_sent and 'sent' or status
if is_sent then
  redis.call('HSET', record, 'event_id', ARGV[2], 'status', status, 'sent_at', now, 'told', told)
elseif status == 'declined' then
  redis.call('HSET', record, 'event_id', ARGV[2], 'status', status, 'told', told)
elseif status == 'failed' then
  redis.call('HSET', record, 'event_id', ARGV[2], 'status', status, 'last_error', ARGV[4], 'failed_at', now)
else
  redis.call('HSET', record, 'event_id', ARGV[2], 'status', status, 'last_error', ARGV[4])
end
if is_kept then
  redis.call('PERSIST', record)  -- it goes with its order
elseif not (ours and known[1]) then  -- the claim did it a moment ago
  redis.call('EXPIRE', record, ARGV[5])
end
if known[2] ~= status then
  if known[2] then redis.call('HINCRBY', counts, known[2], -1) end
  redis.call('HINCRBY', counts, status, 1)
end
return 1

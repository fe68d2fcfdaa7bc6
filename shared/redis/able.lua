-- Writes a little, as every script does, and has each right that this process needs.
--
-- KEYS  1 store:watch
-- ARGV  1 who asks  2 milliseconds to keep it
--       3… rights: how many words of a command follow, what it is in words, a command that needs it
-- Returns 1.

local i = 3
while redis.acl_check_cmd and i < #ARGV do
  local last = i + 1 + tonumber(ARGV[i])
  if not redis.acl_check_cmd(unpack(ARGV, i + 2, last)) then
    return redis.error_reply('NOPERM no right to ' .. ARGV[i + 1])
  end
  i = last + 1
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1

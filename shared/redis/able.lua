-- Writes a little, as every script does, and has the right to every command that any script of this process calls.
--
-- KEYS  1 store:watch
-- ARGV  1 who asks  2 milliseconds to keep it  3… commands
-- Returns 1.

if redis.acl_check_cmd then
  for i = 3, #ARGV do
    if not redis.acl_check_cmd(ARGV[i], KEYS[1]) then
      return redis.error_reply('NOPERM no right to run ' .. ARGV[i])
    end
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1

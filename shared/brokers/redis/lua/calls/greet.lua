-- Before anything else on every connection: make the memory, or see that the server has begun a new life, in which the
-- last writes of the former one may be missing. KEYS: meta. ARGV: its life, epoch to begin with, lease to begin with, now.
local META = '{llm-chat}:meta'
local found = redis.call('HMGET', META, 'epoch', 'run')
if not found[1] then
    local time = redis.call('TIME')
    local now = tonumber(ARGV[4]) or time[1] + time[2] / 1000000
    redis.call('HSET', META, 'epoch', ARGV[2], 'run', ARGV[1], 'lease', ARGV[3], 'kept', 0, 'lives', 1, 'ticked', now,
               'swept', now)
    redis.call('EXPIRE', META, LIMIT.ttl)
    return ARGV[2]
end
if found[2] ~= ARGV[1] then
    -- leases of the lost writes must name nothing now, nor may a token be spent again whose spending is lost
    redis.call('HINCRBY', META, 'lease', 1048576)
    redis.call('HINCRBY', META, 'lives', 1)
    redis.call('HSET', META, 'run', ARGV[1])
end
return found[1]

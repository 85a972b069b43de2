-- needs: base
-- args: token, spender, epoch, seconds
local SPENT, SPENDERS = K .. 'spent', K .. 'spenders'
if args[3] ~= life() then return ok(pack(false)) end
for _, token in ipairs(call('ZRANGEBYSCORE', SPENT, '-inf', now)) do
    call('ZREM', SPENT, token)
    call('HDEL', SPENDERS, token)
end
local known = call('HGET', SPENDERS, args[1])
if not known then
    if call('ZCARD', SPENT) >= LIMIT.spent_tokens then return refuse('queue_full', -1) end
    call('ZADD', SPENT, now + args[4], args[1])
    call('HSET', SPENDERS, args[1], args[2])
    keep(SPENT, SPENDERS)
end
return ok(pack(not known or known == args[2]))

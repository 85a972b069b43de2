-- needs: queue, worker, gateway
local since, there = now - math.max(5, LIMIT.lease * 2), 0
for _, name in ipairs(call('ZRANGEBYSCORE', WORKERS, since, '+inf')) do
    if call('HGET', K .. 'wk:' .. name, 'alone') == '0' then there = there + 1 end
end
return ok(arr(8) .. pack(life(), call('ZCARD', K .. 'idle'), call('ZCARD', WAITING), call('ZCARD', K .. 'held'),
                         call('LLEN', SUSPECTS), there, call('ZCOUNT', GATEWAYS, since, '+inf'), kept))

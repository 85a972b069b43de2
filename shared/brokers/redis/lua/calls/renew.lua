-- needs: writing
-- args: leases
for _, n in ipairs(args[1]) do
    if call('ZSCORE', HELD, num(n)) then
        call('ZADD', HELD, 'XX', now + LIMIT.lease, num(n))
        local g, sid = split(call('HGET', WRITTEN, num(n)) or '')
        local name = g and call('HGET', K .. 'r:' .. sid .. ':' .. g, 'worker')
        if name then call('ZADD', WORKERS, 'XX', now, name) end
    end
end
return ok(pack(nil))

-- needs: page, gateway
-- args: gateway, session, after
local s = session(args[2])
if not s then return refuse('session_not_found') end
local g = gateway(args[1], true)
call('SADD', K .. 'g:' .. s.id, g.name)
call('SADD', g.key .. ':s', s.id)
keep(K .. 'g:' .. s.id, g.key .. ':s')
touch(s.id)
local open = {}
if s.running ~= '' then open[1] = pack(call('HGET', K .. 'r:' .. s.id .. ':' .. s.running, 'id') or '') end
return ok(arr(9) .. pack(epoch) .. call('HGET', s.key, 'about') .. list(open)
    .. pack(s.newest, tonumber(s.running) or 0, tonumber(s.ended)) .. page(s, args[3], LIMIT.page_bytes))

-- needs: writing
-- args: session
local sid = args[1]
local s = session(sid)
if not s then return ok(pack(nil)) end

local function size_of(item) -- of its events, which stand behind the head as MessagePack's bin
    local at = head(item) + 1
    local kind = item:byte(at)
    local a, b, c, d = item:byte(at + 1, at + 4)
    if kind == 0xc4 then return a end
    if kind == 0xc5 then return a * 256 + b end
    return ((a * 256 + b) * 256 + c) * 256 + d
end

local open = s.running ~= '' and reply(sid, s.running)
if open and open.worker ~= '' then
    local lease = open.lease
    tell_lost((settle(open)), lease)
elseif open then
    leave_queue(open.entry, s.owner)
end
for _, g in ipairs(call('ZRANGE', K .. 'k:' .. sid, 0, -1)) do
    local r = reply(sid, g)
    if r then
        call('ZREM', OWED, r.entry)
        expire_reply(s, r)
    end
end
local begins = arr(10) .. pack(sid) -- as its items do
for _, name in ipairs(call('ZRANGE', GATEWAYS, 0, -1)) do
    local g = gateway(name)
    if g then
        if call('SREM', g.key .. ':s', sid) == 1 then
            call('RPUSH', g.key .. ':g', sid)
            keep(g.key .. ':g')
            tell_gateway(g)
        end
        call('HDEL', g.key .. ':p', sid)
        local waiting = call('LRANGE', g.key .. ':o', 0, -1)
        for _, item in ipairs(waiting) do
            if item:sub(1, #begins) == begins then
                call('LREM', g.key .. ':o', 1, item)
                g.bytes = math.max(0, g.bytes - size_of(item))
                g.dirty = true
            end
        end
    end
end
for _, letter in ipairs(call('XRANGE', DEAD, '-', '+')) do
    for at = 1, #letter[2], 2 do
        if letter[2][at] == 'session' and letter[2][at + 1] == sid then call('XDEL', DEAD, letter[1]) end
    end
end
call('DEL', s.key, K .. 'm:' .. sid, K .. 'k:' .. sid, K .. 'x:' .. sid, K .. 'g:' .. sid)
call('ZREM', K .. 'idle', sid)
return ok(pack(nil))

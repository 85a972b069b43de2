-- needs: base
-- Gateway processes: which sessions each follows and what it has not drained yet.
local GATEWAYS = K .. 'gateways'
local gateways = {}

local function touch(sid) call('ZADD', K .. 'idle', 'XX', now + LIMIT.retention, sid) end

local function gateway(name, make)
    local g = gateways[name]
    if g ~= nil then return g end
    local key = K .. 'gw:' .. name
    local f = call('HMGET', key, 'link', 'lost', 'drains', 'bytes', 'parked')
    if not f[1] then
        if not make then return nil end
        f = {'-1', '1', '0', '0', '0', new = true}
        call('ZADD', GATEWAYS, now, name)
    end
    g = {name = name, key = key, link = f[1], lost = f[2] == '1', drains = tonumber(f[3]), bytes = tonumber(f[4]),
         parked = f[5], items = {}, dirty = f.new, new = f.new}
    gateways[name] = g
    return g
end

local function tell_gateway(g) -- once until its next drain
    if g.parked == '1' then
        call('PUBLISH', K .. 'wake:' .. g.name, '')
        g.parked = '2'
        g.dirty = true
    end
end

local function unfollow_all(g)
    for _, sid in ipairs(call('SMEMBERS', g.key .. ':s')) do
        call('SREM', K .. 'g:' .. sid, g.name)
        touch(sid)
    end
    call('DEL', g.key .. ':s', g.key .. ':o', g.key .. ':p', g.key .. ':g')
    g.items, g.bytes, g.lost, g.dirty = {}, 0, true, true
end

local function leave_gateway(name)
    local g = gateway(name)
    if not g then return end
    unfollow_all(g)
    if g.parked ~= '0' then call('PUBLISH', K .. 'wake:' .. name, '') end
    call('DEL', g.key)
    call('ZREM', GATEWAYS, name)
    gateways[name] = nil
end

local function keep_gateway(name)
    local key = K .. 'gw:' .. name
    keep(key, key .. ':s', key .. ':o', key .. ':p', key .. ':g')
end

local function offer(g, item, size)
    g.items[#g.items + 1] = item
    g.bytes = g.bytes + size
    g.dirty = true
    tell_gateway(g)
end

savers[#savers + 1] = function()
    for _, g in pairs(gateways) do
        for from = 1, #g.items, 1000 do
            local upto = math.min(from + 999, #g.items)
            local length = call('RPUSH', g.key .. ':o', unpack(g.items, from, upto))
            if length == upto - from + 1 then keep(g.key .. ':o') end
        end
        if g.dirty then
            call('HSET', g.key, 'link', g.link, 'lost', g.lost and '1' or '0', 'drains', g.drains, 'bytes', g.bytes,
                 'parked', g.parked)
            if g.new then keep(g.key) end
        end
    end
end

local function batch(g, number, final)
    if not g then return arr(5) .. pack(epoch, true) .. list({}) .. list({}) .. list({}) end
    if number ~= g.drains then return arr(5) .. pack(epoch, false) .. list({}) .. list({}) .. list({}) end
    g.parked, g.dirty = '1', true -- it waits for a word again, whether it gets something now or not
    local items = call('LRANGE', g.key .. ':o', 0, -1)
    local places = call('HVALS', g.key .. ':p')
    local gone = call('LRANGE', g.key .. ':g', 0, -1)
    if not (final or g.lost or #items > 0 or #places > 0 or #gone > 0) then return nil end
    for at, sid in ipairs(gone) do gone[at] = pack(sid) end
    local brought = arr(5) .. pack(epoch, g.lost) .. list(items) .. list(places) .. list(gone)
    if #items > 0 or #places > 0 or #gone > 0 then call('DEL', g.key .. ':o', g.key .. ':p', g.key .. ':g') end
    call('ZADD', GATEWAYS, now, g.name)
    g.bytes, g.lost = 0, false
    return brought
end

-- needs: gateway
-- args: gateway, link, ask (bring at once what there is)
local g = gateway(args[1], true)
local link = tostring(args[2])
if g.link ~= link then -- over a new link nothing of the old one's can be trusted
    unfollow_all(g)
    g.link = link
end
call('ZADD', GATEWAYS, now, g.name)
g.drains, g.parked, g.dirty = g.drains + 1, '1', true
keep_gateway(g.name)
local brought = args[3] and batch(g, g.drains, false)
return ok(arr(2) .. pack(g.drains) .. (brought or pack(nil)))

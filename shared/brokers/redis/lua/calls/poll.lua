-- needs: leasing
-- args: worker, seen, held (false: none), free slots, alone, ask (bring at once what there is)
local w = worker(args[1], true)
w.polls = math.max(w.polls, args[2]) + 1
w.parked, w.told, w.free, w.alone, w.since = true, false, args[4], args[5], now
call('ZADD', WORKERS, now, w.name)
local stray = {}
if args[2] < w.answered then -- the last answer never arrived
    for _, n in ipairs(w.unseen) do
        if holds_lease(w, n) then stray[#stray + 1] = n end
    end
    for _, n in ipairs(w.unseen_cancels) do w.cancelled[#w.cancelled + 1] = n end
end
w.unseen, w.unseen_cancels = {}, {}
reseat(w)
for _, n in ipairs(stray) do free_lease(n, false, false) end
for _, n in ipairs(args[3] or {}) do
    if holds_lease(w, n) then
        call('ZADD', HELD, 'XX', now + LIMIT.lease, num(n))
    else
        w.lost[#w.lost + 1] = n
    end
end
assign()
keep(w.key, w.key .. ':h')
local answer = args[6] and polled(w, w.polls, false)
return ok(arr(2) .. pack(w.polls) .. (answer or pack(nil)))

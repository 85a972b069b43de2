-- needs: leasing
-- args: leases
for _, n in ipairs(args[1]) do
    if call('ZSCORE', HELD, num(n)) then free_lease(n, false, true) end
end
assign()
return ok(pack(nil))

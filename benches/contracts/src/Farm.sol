// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// What the farm needs of its tokens.
interface IFarmToken {
    function transfer(address to, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// Pays a reward to who stakes, by time and by stake, over several pools.
///
/// Each pool has an index of what one staked unit has earned since the beginning: whoever comes or goes only has to
/// remember what the index was.
contract Farm {
    struct Pool {
        IFarmToken staked;
        uint64 weight;
        uint64 updated;
        uint256 total;
        uint256 rewardPerUnit;
    }

    struct Stake {
        uint256 amount;
        uint256 paidPerUnit;
    }

    uint256 private constant PRECISION = 1e18;

    address public owner;
    IFarmToken public reward;
    uint256 public rewardPerSecond;
    uint256 public totalWeight;
    /// Rewards that were paid so far, in all pools.
    uint256 public paid;
    Pool[] public pools;
    mapping(uint256 pool => mapping(address account => Stake)) public stakes;

    event Staked(address indexed account, uint256 indexed pool, uint256 amount);
    event Unstaked(address indexed account, uint256 indexed pool, uint256 amount);
    event Paid(address indexed account, uint256 indexed pool, uint256 amount);

    error NotOwner(address caller);
    error NotEnough(uint256 amount, uint256 wanted);
    error TransferFailed();

    constructor(IFarmToken reward_, uint256 rewardPerSecond_) {
        (owner, reward, rewardPerSecond) = (msg.sender, reward_, rewardPerSecond_);
    }

    function open(IFarmToken staked, uint64 weight) external {
        if (msg.sender != owner) revert NotOwner(msg.sender);
        for (uint256 id = 0; id < pools.length; ++id) update(id);
        totalWeight += weight;
        pools.push(Pool(staked, weight, uint64(block.timestamp), 0, 0));
    }

    /// Brings a pool's index up to now.
    function update(uint256 id) public {
        Pool storage pool = pools[id];
        uint256 elapsed = block.timestamp - pool.updated;
        if (elapsed == 0) return;
        if (pool.total != 0) {
            uint256 earned = elapsed * rewardPerSecond * pool.weight / totalWeight;
            pool.rewardPerUnit += earned * PRECISION / pool.total;
        }
        pool.updated = uint64(block.timestamp);
    }

    function pending(uint256 id, address account) public view returns (uint256) {
        Stake storage stake_ = stakes[id][account];
        return stake_.amount * (pools[id].rewardPerUnit - stake_.paidPerUnit) / PRECISION;
    }

    function stake(uint256 id, uint256 amount) external {
        harvest(id);
        Pool storage pool = pools[id];
        stakes[id][msg.sender].amount += amount;
        pool.total += amount;
        if (!pool.staked.transferFrom(msg.sender, address(this), amount)) revert TransferFailed();
        emit Staked(msg.sender, id, amount);
    }

    function unstake(uint256 id, uint256 amount) external {
        harvest(id);
        Pool storage pool = pools[id];
        uint256 owned = stakes[id][msg.sender].amount;
        if (owned < amount) revert NotEnough(owned, amount);
        stakes[id][msg.sender].amount = owned - amount;
        pool.total -= amount;
        if (!pool.staked.transfer(msg.sender, amount)) revert TransferFailed();
        emit Unstaked(msg.sender, id, amount);
    }

    /// Pays what the caller has earned.
    function harvest(uint256 id) public {
        update(id);
        uint256 amount = pending(id, msg.sender);
        stakes[id][msg.sender].paidPerUnit = pools[id].rewardPerUnit;
        if (amount == 0) return;
        paid += amount;
        if (!reward.transfer(msg.sender, amount)) revert TransferFailed();
        emit Paid(msg.sender, id, amount);
    }
}

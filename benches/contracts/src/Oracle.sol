// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// What an oracle can look at: a constant-product pool.
interface IPricedPool {
    function token0() external view returns (address);
    function reserves() external view returns (uint112 reserve0, uint112 reserve1, uint32 updated);
}

/// Prices of assets, with 18 decimal places: posted by a feeder, or taken from a pool.
contract Oracle {
    struct Feed {
        uint128 price;
        uint64 updated;
        uint64 round;
    }

    address public feeder;
    mapping(address asset => Feed) public feeds;
    mapping(address asset => IPricedPool) public pools;

    event Posted(address indexed asset, uint256 price, uint256 round);

    error NotFeeder(address caller);
    error NoPrice(address asset);

    constructor(address feeder_) {
        feeder = feeder_;
    }

    function post(address asset, uint128 newPrice) external {
        if (msg.sender != feeder) revert NotFeeder(msg.sender);
        Feed storage feed = feeds[asset];
        uint64 round = feed.round + 1;
        (feed.price, feed.updated, feed.round) = (newPrice, uint64(block.timestamp), round);
        emit Posted(asset, newPrice, round);
    }

    /// From now on, the asset's price is what the pool says.
    function follow(address asset, IPricedPool pool) external {
        if (msg.sender != feeder) revert NotFeeder(msg.sender);
        pools[asset] = pool;
    }

    function price(address asset) external view returns (uint256) {
        IPricedPool pool = pools[asset];
        if (address(pool) != address(0)) {
            (uint256 reserve0, uint256 reserve1,) = pool.reserves();
            return pool.token0() == asset ? reserve1 * 1e18 / reserve0 : reserve0 * 1e18 / reserve1;
        }
        uint256 posted = feeds[asset].price;
        if (posted == 0) revert NoPrice(asset);
        return posted;
    }
}

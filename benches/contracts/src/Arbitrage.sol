// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// What trading around needs of a token.
interface ITradedToken {
    function balanceOf(address account) external view returns (uint256);
    function transfer(address to, uint256 value) external returns (bool);
    function approve(address spender, uint256 value) external returns (bool);
    function allowance(address owner, address spender) external view returns (uint256);
}

interface ITradedPool {
    function token0() external view returns (ITradedToken);
    function token1() external view returns (ITradedToken);
    function reserves() external view returns (uint112 reserve0, uint112 reserve1, uint32 updated);
    function swap(address tokenIn, uint256 amountIn, uint256 minimumOut, address to) external returns (uint256);
}

interface ILender {
    function flashLoan(address token, uint256 amount, bytes calldata data) external;
}

/// Borrows a token, trades it around three pools, pays back, and keeps what is left.
contract Arbitrage {
    uint256 public rounds;
    mapping(address token => uint256) public profits;

    event Round(address indexed caller, address indexed token, uint256 amount, uint256 profit);

    error NotLender(address caller);
    error NoProfit(uint256 got, uint256 owed);

    /// The lender of the loan that is under way.
    address private _lender;

    /// Trades around in the direction that pays, for at least `minimumProfit`; returns what it made.
    function trade(ILender lender, address token, uint256 amount, ITradedPool[3] calldata pools, uint256 minimumProfit)
        external
        returns (uint256 profit)
    {
        uint256 before = ITradedToken(token).balanceOf(address(this));
        bool forward = _quote(token, amount, pools[0], pools[1], pools[2])
            >= _quote(token, amount, pools[2], pools[1], pools[0]);
        _lender = address(lender);
        lender.flashLoan(
            token, amount, forward ? abi.encode(pools[0], pools[1], pools[2]) : abi.encode(pools[2], pools[1], pools[0])
        );
        _lender = address(0);
        profit = ITradedToken(token).balanceOf(address(this)) - before;
        if (profit < minimumProfit) revert NoProfit(profit, minimumProfit);
        profits[token] += profit;
        rounds += 1;
        emit Round(msg.sender, token, amount, profit);
    }

    function onFlashLoan(address token, uint256 amount, uint256 fee, bytes calldata data) external {
        if (msg.sender != _lender) revert NotLender(msg.sender);
        (ITradedPool first, ITradedPool second, ITradedPool third) =
            abi.decode(data, (ITradedPool, ITradedPool, ITradedPool));
        (address held, uint256 got) = _swap(first, token, amount);
        (held, got) = _swap(second, held, got);
        (held, got) = _swap(third, held, got);
        if (held != token || got < amount + fee) revert NoProfit(got, amount + fee);
        ITradedToken(token).transfer(msg.sender, amount + fee);
    }

    function _swap(ITradedPool pool, address token, uint256 amount) private returns (address, uint256) {
        if (ITradedToken(token).allowance(address(this), address(pool)) < amount) {
            ITradedToken(token).approve(address(pool), type(uint256).max);
        }
        address other = _other(pool, token);
        return (other, pool.swap(token, amount, 1, address(this)));
    }

    function _quote(address token, uint256 amount, ITradedPool first, ITradedPool second, ITradedPool third)
        private
        view
        returns (uint256 out)
    {
        (address held, uint256 got) = _quoteOne(first, token, amount);
        (held, got) = _quoteOne(second, held, got);
        (, out) = _quoteOne(third, held, got);
    }

    function _quoteOne(ITradedPool pool, address token, uint256 amount) private view returns (address, uint256) {
        (uint256 reserve0, uint256 reserve1,) = pool.reserves();
        (uint256 own, uint256 other) =
            token == address(pool.token0()) ? (reserve0, reserve1) : (reserve1, reserve0);
        uint256 afterFee = amount * 997;
        return (_other(pool, token), afterFee * other / (own * 1000 + afterFee));
    }

    function _other(ITradedPool pool, address token) private view returns (address) {
        address token0 = address(pool.token0());
        return token == token0 ? address(pool.token1()) : token0;
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// The part of ERC-20 that a pool needs.
interface IToken {
    function balanceOf(address account) external view returns (uint256);
    function transfer(address to, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// A constant-product pool of two tokens with a fee of 0.3 %.
///
/// Reserves and the time of their last change share one slot. The accumulators integrate both prices over time.
/// Shares of the pool are plain balances: they are not a token, to keep the contract small.
contract Pool {
    /// Shares that nobody owns, so that the pool never becomes empty again.
    uint256 public constant LOCKED_SHARES = 1000;

    IToken public token0;
    IToken public token1;
    uint112 private _reserve0;
    uint112 private _reserve1;
    uint32 private _updated;
    uint256 public price0Cumulative;
    uint256 public price1Cumulative;
    uint256 public totalShares;
    mapping(address account => uint256) public sharesOf;
    uint256 private _entered;

    event Deposited(address indexed sender, address indexed to, uint256 amount0, uint256 amount1, uint256 shares);
    event Withdrawn(address indexed sender, address indexed to, uint256 amount0, uint256 amount1, uint256 shares);
    event Swapped(address indexed sender, address indexed to, bool zeroForOne, uint256 amountIn, uint256 amountOut);
    event Synced(uint112 reserve0, uint112 reserve1);

    error Reentered();
    error UnknownToken(address token);
    error TransferFailed(address token);
    error TooLittle(uint256 amount, uint256 wanted);
    error NoLiquidity();
    error ReserveOverflow();

    modifier nonReentrant() {
        if (_entered == 2) revert Reentered();
        // 1 and not 0 when left: the slot stays warm and non-zero, which makes it cheaper.
        _entered = 2;
        _;
        _entered = 1;
    }

    constructor(IToken token0_, IToken token1_) {
        token0 = token0_;
        token1 = token1_;
        _entered = 1;
    }

    function reserves() external view returns (uint112 reserve0, uint112 reserve1, uint32 updated) {
        return (_reserve0, _reserve1, _updated);
    }

    /// Sells exactly `amountIn` of `tokenIn`, pulled from the caller, for at least `minimumOut` of the other token.
    function swap(address tokenIn, uint256 amountIn, uint256 minimumOut, address to)
        external
        nonReentrant
        returns (uint256 amountOut)
    {
        (IToken first, IToken second) = (token0, token1);
        (uint112 reserve0, uint112 reserve1) = (_reserve0, _reserve1);
        bool zeroForOne = tokenIn == address(first);
        if (!zeroForOne && tokenIn != address(second)) revert UnknownToken(tokenIn);
        if (reserve0 == 0 || reserve1 == 0) revert NoLiquidity();

        (IToken source, IToken target) = zeroForOne ? (first, second) : (second, first);
        (uint256 reserveIn, uint256 reserveOut) =
            zeroForOne ? (uint256(reserve0), uint256(reserve1)) : (uint256(reserve1), uint256(reserve0));

        _pull(source, amountIn);
        // What arrived counts, not what was asked for: a token may take a fee on the way.
        uint256 received = source.balanceOf(address(this)) - reserveIn;
        uint256 afterFee = received * 997;
        amountOut = afterFee * reserveOut / (reserveIn * 1000 + afterFee);
        if (amountOut < minimumOut || amountOut == 0) revert TooLittle(amountOut, minimumOut);
        _push(target, to, amountOut);

        _update(first.balanceOf(address(this)), second.balanceOf(address(this)), reserve0, reserve1);
        emit Swapped(msg.sender, to, zeroForOne, received, amountOut);
    }

    /// Deposits both tokens in the pool's ratio, at most the amounts given, for shares.
    function deposit(uint256 most0, uint256 most1, address to) external nonReentrant returns (uint256 shares) {
        (uint112 reserve0, uint112 reserve1) = (_reserve0, _reserve1);
        uint256 total = totalShares;
        (uint256 amount0, uint256 amount1) = (most0, most1);
        if (total != 0) {
            uint256 match1 = most0 * reserve1 / reserve0;
            if (match1 <= most1) amount1 = match1;
            else amount0 = most1 * reserve0 / reserve1;
        }
        _pull(token0, amount0);
        _pull(token1, amount1);
        uint256 balance0 = token0.balanceOf(address(this));
        uint256 balance1 = token1.balanceOf(address(this));
        amount0 = balance0 - reserve0;
        amount1 = balance1 - reserve1;

        if (total == 0) {
            uint256 root = _sqrt(amount0 * amount1);
            if (root <= LOCKED_SHARES) revert TooLittle(root, LOCKED_SHARES + 1);
            shares = root - LOCKED_SHARES;
            sharesOf[address(0)] = LOCKED_SHARES;
            total = LOCKED_SHARES;
        } else {
            uint256 shares0 = amount0 * total / reserve0;
            uint256 shares1 = amount1 * total / reserve1;
            shares = shares0 < shares1 ? shares0 : shares1;
        }
        if (shares == 0) revert TooLittle(0, 1);
        totalShares = total + shares;
        sharesOf[to] += shares;
        _update(balance0, balance1, reserve0, reserve1);
        emit Deposited(msg.sender, to, amount0, amount1, shares);
    }

    /// Burns the caller's shares for their part of both reserves.
    function withdraw(uint256 shares, address to) external nonReentrant returns (uint256 amount0, uint256 amount1) {
        (uint112 reserve0, uint112 reserve1) = (_reserve0, _reserve1);
        uint256 owned = sharesOf[msg.sender];
        if (shares == 0 || owned < shares) revert TooLittle(owned, shares);
        uint256 total = totalShares;
        amount0 = shares * reserve0 / total;
        amount1 = shares * reserve1 / total;
        unchecked {
            sharesOf[msg.sender] = owned - shares;
            totalShares = total - shares;
        }
        _push(token0, to, amount0);
        _push(token1, to, amount1);
        _update(token0.balanceOf(address(this)), token1.balanceOf(address(this)), reserve0, reserve1);
        emit Withdrawn(msg.sender, to, amount0, amount1, shares);
    }

    function _update(uint256 balance0, uint256 balance1, uint112 reserve0, uint112 reserve1) private {
        if (balance0 > type(uint112).max || balance1 > type(uint112).max) revert ReserveOverflow();
        uint32 time = uint32(block.timestamp);
        unchecked {
            // Time and accumulators wrap; who reads them takes differences.
            uint32 elapsed = time - _updated;
            if (elapsed != 0 && reserve0 != 0 && reserve1 != 0) {
                price0Cumulative += ((uint256(reserve1) << 112) / reserve0) * elapsed;
                price1Cumulative += ((uint256(reserve0) << 112) / reserve1) * elapsed;
            }
        }
        _reserve0 = uint112(balance0);
        _reserve1 = uint112(balance1);
        _updated = time;
        emit Synced(uint112(balance0), uint112(balance1));
    }

    function _pull(IToken token, uint256 amount) private {
        if (!token.transferFrom(msg.sender, address(this), amount)) revert TransferFailed(address(token));
    }

    function _push(IToken token, address to, uint256 amount) private {
        if (!token.transfer(to, amount)) revert TransferFailed(address(token));
    }

    /// The square root, rounded down, by Newton's method from above.
    function _sqrt(uint256 x) private pure returns (uint256 root) {
        if (x == 0) return 0;
        root = x;
        uint256 next = x / 2 + 1;
        while (next < root) {
            root = next;
            next = (x / next + next) / 2;
        }
    }
}

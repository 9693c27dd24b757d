// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// What the pool needs of its tokens.
interface IPairToken {
    function transfer(address to, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// A pool of two tokens whose liquidity is placed between prices.
///
/// Prices lie on a grid: place `g` is the price 1.0001^(60 g). A position is liquidity between two places. The square
/// root of the price has 96 binary places behind the point; fees for a unit of liquidity have 128.
contract ConcentratedPool {
    /// Liquidity that begins or ends at a place, and the fees on the other side of it, as seen from the price.
    struct Place {
        uint128 gross;
        int128 net;
        uint256 outside0;
        uint256 outside1;
    }

    struct Position {
        uint128 liquidity;
        uint256 inside0;
        uint256 inside1;
    }

    int24 public constant SPACING = 60;
    /// Places beyond have no price.
    int24 public constant LAST_PLACE = 3400;
    /// A swap's fee, in thousandths.
    uint256 public constant FEE = 3;
    /// 2^128 divided by the square root of 1.0001.
    uint256 private constant STEP = 340265354078544963557816517032075149313;
    uint256 private constant MOST_LIQUIDITY = 1 << 104;

    IPairToken public token0;
    IPairToken public token1;
    uint160 public sqrtPrice;
    /// The place at or below the price.
    int24 public place;
    uint128 public liquidity;
    uint256 public feeGrowth0;
    uint256 public feeGrowth1;
    mapping(int24 => Place) public places;
    /// Which places have liquidity that begins or ends, 256 a word.
    mapping(int24 => uint256) public used;
    mapping(bytes32 => Position) public positions;

    event Minted(address indexed owner, int24 lower, int24 upper, uint128 liquidity, uint256 amount0, uint256 amount1);
    event Burned(address indexed owner, int24 lower, int24 upper, uint128 liquidity, uint256 amount0, uint256 amount1);
    event Swapped(
        address indexed sender, bool zeroForOne, uint256 amountIn, uint256 amountOut, uint160 sqrtPrice, int24 place
    );

    error BadRange(int24 lower, int24 upper);
    error BadLiquidity();
    error NoLiquidity();
    error TooLittle(uint256 amount, uint256 wanted);
    error TransferFailed();

    constructor(IPairToken token0_, IPairToken token1_, int24 place_) {
        token0 = token0_;
        token1 = token1_;
        place = place_;
        sqrtPrice = uint160(sqrtPriceAt(place_));
    }

    /// The square root of the price at a place.
    function sqrtPriceAt(int24 g) public pure returns (uint256 root) {
        int256 power = int256(g) * SPACING;
        uint256 left = uint256(power < 0 ? -power : power);
        uint256 factor = STEP;
        root = 1 << 128;
        unchecked {
            // Both stay below 2^128, or are that: the products fit.
            while (left != 0) {
                if (left & 1 != 0) root = root * factor >> 128;
                factor = factor * factor >> 128;
                left >>= 1;
            }
        }
        if (power > 0) root = type(uint256).max / root;
        root >>= 32;
    }

    function mint(int24 lower, int24 upper, uint128 amount) external returns (uint256 amount0, uint256 amount1) {
        if (lower >= upper || lower < -LAST_PLACE || upper > LAST_PLACE) revert BadRange(lower, upper);
        if (amount == 0) revert BadLiquidity();
        _change(lower, upper, int128(amount));
        (amount0, amount1) = _amounts(lower, upper, amount);
        // Rounded up, in the pool's favour.
        (amount0, amount1) = (amount0 + 1, amount1 + 1);
        if (!token0.transferFrom(msg.sender, address(this), amount0)) revert TransferFailed();
        if (!token1.transferFrom(msg.sender, address(this), amount1)) revert TransferFailed();
        emit Minted(msg.sender, lower, upper, amount, amount0, amount1);
    }

    /// Takes liquidity out, with all the fees that the position has earned.
    function burn(int24 lower, int24 upper, uint128 amount) external returns (uint256 amount0, uint256 amount1) {
        (uint256 fees0, uint256 fees1) = _change(lower, upper, -int128(amount));
        (amount0, amount1) = _amounts(lower, upper, amount);
        (amount0, amount1) = (amount0 + fees0, amount1 + fees1);
        if (!token0.transfer(msg.sender, amount0)) revert TransferFailed();
        if (!token1.transfer(msg.sender, amount1)) revert TransferFailed();
        emit Burned(msg.sender, lower, upper, amount, amount0, amount1);
    }

    struct Swap {
        uint256 left;
        uint256 price;
        int24 place;
        uint256 liquidity;
        uint256 feeGrowth;
    }

    /// Sells exactly `amountIn` of the first token for the second, or the other way round.
    function swap(bool zeroForOne, uint256 amountIn, uint256 minimumOut, address to)
        external
        returns (uint256 amountOut)
    {
        Swap memory s =
            Swap(amountIn, sqrtPrice, place, liquidity, zeroForOne ? feeGrowth0 : feeGrowth1);
        while (s.left != 0) {
            (int24 next, bool begins) = _next(s.place, zeroForOne);
            if (next < -LAST_PLACE || next > LAST_PLACE) revert NoLiquidity();
            uint256 target = sqrtPriceAt(next);
            (uint256 price, uint256 paid, uint256 fee, uint256 got) =
                _step(s.price, target, s.liquidity, s.left, zeroForOne);
            s.left -= paid + fee;
            amountOut += got;
            if (s.liquidity != 0) s.feeGrowth += (fee << 128) / s.liquidity;
            if (price == target) {
                if (begins) s.liquidity = _cross(next, zeroForOne, s.liquidity, s.feeGrowth);
                s.place = zeroForOne ? next - 1 : next;
            } else {
                (int24 low, int24 high) = zeroForOne ? (next, s.place + 1) : (s.place, next);
                s.place = _placeOf(price, low, high);
            }
            s.price = price;
        }
        if (amountOut < minimumOut) revert TooLittle(amountOut, minimumOut);
        (sqrtPrice, place) = (uint160(s.price), s.place);
        liquidity = uint128(s.liquidity);
        if (zeroForOne) feeGrowth0 = s.feeGrowth;
        else feeGrowth1 = s.feeGrowth;
        (IPairToken source, IPairToken target_) = zeroForOne ? (token0, token1) : (token1, token0);
        if (!source.transferFrom(msg.sender, address(this), amountIn)) revert TransferFailed();
        if (!target_.transfer(to, amountOut)) revert TransferFailed();
        emit Swapped(msg.sender, zeroForOne, amountIn, amountOut, uint160(s.price), s.place);
    }

    /// How far towards the target price what is left goes.
    function _step(uint256 from, uint256 target, uint256 amount, uint256 left, bool zeroForOne)
        private
        pure
        returns (uint256 price, uint256 paid, uint256 fee, uint256 got)
    {
        (uint256 low, uint256 high) = zeroForOne ? (target, from) : (from, target);
        uint256 most = (zeroForOne ? _amount0(low, high, amount) : _amount1(low, high, amount)) + 1;
        uint256 net = left * (1000 - FEE) / 1000;
        if (amount == 0) {
            return (target, 0, 0, 0);
        }
        if (net >= most) {
            (price, paid) = (target, most);
            fee = (most * FEE + 999 - FEE) / (1000 - FEE);
            if (paid + fee > left) fee = left - paid;
        } else {
            paid = net;
            fee = left - net;
            price = zeroForOne ? amount * from / (amount + (net * from >> 96)) : from + (net << 96) / amount;
            // What is left may be too little to move the price, but never moves it past the target.
            if (zeroForOne ? price < target : price > target) price = target;
        }
        (low, high) = zeroForOne ? (price, from) : (from, price);
        got = zeroForOne ? _amount1(low, high, amount) : _amount0(low, high, amount);
    }

    /// Passes a place: the fees on its other side change sides.
    function _cross(int24 g, bool zeroForOne, uint256 amount, uint256 feeGrowth) private returns (uint256) {
        Place storage crossed = places[g];
        unchecked {
            // Growth wraps; only differences count.
            crossed.outside0 = (zeroForOne ? feeGrowth : feeGrowth0) - crossed.outside0;
            crossed.outside1 = (zeroForOne ? feeGrowth1 : feeGrowth) - crossed.outside1;
        }
        int128 net = zeroForOne ? -crossed.net : crossed.net;
        return uint256(int256(amount) + net);
    }

    /// The next place that is in use, at or below `from` or above it, or the end of the word.
    function _next(int24 from, bool down) private view returns (int24, bool) {
        if (!down) from += 1;
        int24 word = from >> 8;
        uint256 offset = uint8(int8(from - (word << 8)));
        uint256 bits = used[word];
        if (down) {
            bits &= type(uint256).max >> (255 - offset);
            return bits == 0 ? (word << 8, false) : ((word << 8) + int24(uint24(_highest(bits))), true);
        }
        bits &= type(uint256).max << offset;
        return bits == 0 ? ((word << 8) + 255, false) : ((word << 8) + int24(uint24(_highest(bits & (~bits + 1)))), true);
    }

    function _highest(uint256 bits) private pure returns (uint256 index) {
        for (uint256 half = 128; half != 0; half >>= 1) {
            if (bits >> half != 0) {
                bits >>= half;
                index += half;
            }
        }
    }

    /// The place at or below a price that lies between two.
    function _placeOf(uint256 price, int24 low, int24 high) private pure returns (int24) {
        while (high - low > 1) {
            int24 middle = (low + high) / 2;
            if (middle == low || middle == high) middle = low + 1;
            if (sqrtPriceAt(middle) <= price) low = middle;
            else high = middle;
        }
        return low;
    }

    function _change(int24 lower, int24 upper, int128 by) private returns (uint256 fees0, uint256 fees1) {
        (uint256 growth0, uint256 growth1) = (feeGrowth0, feeGrowth1);
        _bound(lower, by, by, growth0, growth1);
        _bound(upper, by, -by, growth0, growth1);
        (uint256 inside0, uint256 inside1) = _inside(lower, upper, growth0, growth1);
        Position storage position = positions[keccak256(abi.encode(msg.sender, lower, upper))];
        uint256 owned = position.liquidity;
        unchecked {
            fees0 = (inside0 - position.inside0) * owned >> 128;
            fees1 = (inside1 - position.inside1) * owned >> 128;
        }
        // More than there is fails here.
        position.liquidity = _add(uint128(owned), by);
        (position.inside0, position.inside1) = (inside0, inside1);
        if (lower <= place && place < upper) liquidity = _add(liquidity, by);
        if (liquidity > MOST_LIQUIDITY) revert BadLiquidity();
        // Whoever adds liquidity gets what it had earned; whoever takes it out gets that with it.
        if (by > 0 && (fees0 != 0 || fees1 != 0)) {
            if (!token0.transfer(msg.sender, fees0) || !token1.transfer(msg.sender, fees1)) revert TransferFailed();
        }
    }

    function _bound(int24 g, int128 gross, int128 net, uint256 growth0, uint256 growth1) private {
        Place storage bound = places[g];
        uint128 before = bound.gross;
        if (before == 0 && g <= place) (bound.outside0, bound.outside1) = (growth0, growth1);
        bound.gross = _add(before, gross);
        bound.net += net;
        if ((before == 0) != (bound.gross == 0)) used[g >> 8] ^= 1 << uint256(int256(g - (g >> 8 << 8)));
    }

    function _inside(int24 lower, int24 upper, uint256 growth0, uint256 growth1)
        private
        view
        returns (uint256, uint256)
    {
        Place storage below = places[lower];
        Place storage above = places[upper];
        unchecked {
            (uint256 below0, uint256 below1) = place >= lower
                ? (below.outside0, below.outside1)
                : (growth0 - below.outside0, growth1 - below.outside1);
            (uint256 above0, uint256 above1) = place < upper
                ? (above.outside0, above.outside1)
                : (growth0 - above.outside0, growth1 - above.outside1);
            return (growth0 - below0 - above0, growth1 - below1 - above1);
        }
    }

    /// The tokens that liquidity between two places stands for at the price.
    function _amounts(int24 lower, int24 upper, uint128 amount) private view returns (uint256, uint256) {
        (uint256 low, uint256 high, uint256 price) = (sqrtPriceAt(lower), sqrtPriceAt(upper), sqrtPrice);
        if (place < lower) return (_amount0(low, high, amount), 0);
        if (place >= upper) return (0, _amount1(low, high, amount));
        return (_amount0(price, high, amount), _amount1(low, price, amount));
    }

    function _amount0(uint256 low, uint256 high, uint256 amount) private pure returns (uint256) {
        return (amount * (high - low) / high << 96) / low;
    }

    function _amount1(uint256 low, uint256 high, uint256 amount) private pure returns (uint256) {
        return amount * (high - low) >> 96;
    }

    function _add(uint128 amount, int128 by) private pure returns (uint128) {
        return by < 0 ? amount - uint128(-by) : amount + uint128(by);
    }
}
